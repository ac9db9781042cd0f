//! The help texts.

use insta::assert_snapshot;

use super::Place;

#[test]
fn the_help_lists_every_command() {
    assert_snapshot!(Place::empty().run("--help"), @"
    Runs compose.yaml stacks with its own container engine

    Usage: wharfie [OPTIONS] <COMMAND>

    Commands:
      up        Create and start containers
      down      Stop and remove containers and networks
      ps        List containers
      logs      View output from containers
      exec      Execute a command in a running container
      run       Run a one-off command on a service
      attach    Attach to the standard streams of a running container
      cp        Copy files between containers and this host: one of the two is SERVICE:PATH
      create    Create containers without starting them
      start     Start containers that exist
      stop      Stop containers without removing them
      restart   Restart containers; changes in the file are not applied
      kill      Kill containers, or send them a signal
      pause     Pause the processes of containers
      unpause   Let the processes of paused containers go on
      rm        Remove stopped containers
      rollback  Go back to the version before; the file is left as it is
      scale     Change the number of containers of services
      pull      Pull the images of services
      config    Parse, resolve and print the Compose file in canonical form
      check     Find mistakes in the Compose file, and what was probably not meant
      ls        List the stacks that are running
      images    List the images of the containers
      port      Print the address that a port is published on
      top       Show the running processes
      stats     Show what containers use, again and again
      watch     Copy files into containers when they change, as `develop.watch` says
      wait      Wait until the containers of services have ended, and print their exit codes
      why       Show why a service does not run, and where it could
      events    Receive events of the containers
      export    Write the files of a container as a tar archive
      image     Manage images
      volume    Manage volumes
      volumes   List the volumes of the stack
      network   Manage networks
      secret    Manage secrets and configs that files refer to as external
      cluster   Manage the cluster
      join      Make this host a node of a cluster
      leave     Take this host out of its cluster
      node      Manage the nodes of the cluster
      agent     Run a node in the foreground
      version   Show the version
      help      Print this message or the help of the given subcommand(s)

    Options:
      -f, --file <PATH>               Compose file, `-` for standard input, or a Git or oci:// URL; may
                                      be repeated
      -p, --project-name <NAME>       Name of the project
          --profile <NAME>            Enable a profile; may be repeated
          --env-file <PATH>           File of variables for the Compose file; may be repeated
          --project-directory <PATH>  Directory that relative paths start from [default: that of the
                                      first Compose file]
          --all-resources             Keep networks, volumes, secrets and configs that no service uses
          --parallel <NUM>            How many images are pulled at a time; -1 is all of them
          --progress <PROGRESS>       How progress is shown [default: auto] [possible values: auto, tty,
                                      plain, json, quiet]
          --ansi <ANSI>               When colours are used [default: auto] [possible values: auto,
                                      always, never]
      -H, --host <ADDRESS>            Node to talk to [default: unix:///run/wharfie/wharfie.sock,
                                      started when needed] [env: WHARFIE_HOST]
      -h, --help                      Print help
      -V, --version                   Print version
    ");
}

#[test]
fn a_command_explains_its_options() {
    assert_snapshot!(Place::empty().run("logs --help"), @r#"
    View output from containers

    Usage: wharfie logs [OPTIONS] [SERVICES]...

    Arguments:
      [SERVICES]...  Services to show [default: all]

    Options:
      -f, --follow         Go on with what is said from now on
      -n, --tail <TAIL>    Number of lines at the end, of each container [default: all]
          --since <TIME>   Show what was said since this time, e.g. 2026-01-02T13:23:37Z or 42m
          --until <TIME>   Show what was said before this time, e.g. 2026-01-02T13:23:37Z or 42m
      -t, --timestamps     Print the time of each line
          --no-color       Print without colours
          --no-log-prefix  Print without the names of the containers
          --index <NUM>    Number of the container, when the service has several
      -h, --help           Print help
    "#);
}

#[test]
fn the_version_may_be_short() {
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        Place::empty().run("version --short"),
        format!("{version}\n")
    );
    assert_eq!(
        Place::empty().run("version"),
        format!("wharfie version {version}\n")
    );
    assert_eq!(
        Place::empty().run("version -f json"),
        format!("{{\"version\":\"{version}\"}}\n")
    );
}
