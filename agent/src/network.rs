//! Networks on this host: bridges, interfaces of containers, published ports, balancing, isolation.
