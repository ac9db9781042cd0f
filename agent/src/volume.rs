//! Named volumes: directories with data that outlive containers.
