//! What does not heal: workers that leave or are given up, and a majority of managers that is lost.

use scheduler::control_plane::command::{Command, Force};
use scheduler::model::task::TaskState;

use crate::wishes::{self, Wish, node};
use crate::world::World;

/// A worker leaves by itself, or a person says that it is gone.
pub(crate) fn leave(world: &mut World) {
    let workers = world.managers..world.hosts.len();
    let staying: Vec<usize> = workers.filter(|host| !world.gone.contains(host)).collect();
    let known = |host: &usize| world.hosts[*host].node.told.generation > 0;
    // Somebody must be left to run what is wanted on workers.
    let Some(host) = staying
        .iter()
        .copied()
        .find(known)
        .filter(|_| staying.len() > 1)
    else {
        return;
    };
    world.gone.insert(host);
    let command = match world.chance.happens(500) {
        true => {
            world.say(format!("host {host} leaves"));
            Command::LeaveCluster {
                node: node(host),
                force: Force::No,
            }
        }
        false => {
            world.say(format!("host {host} is given up"));
            Command::RemoveNode {
                node: node(host).to_string(),
                force: Force::Yes,
            }
        }
    };
    let label = None;
    world.ask(Wish { command, label });
}

/// The node that wanted to leave has its answer.
pub(crate) fn left(world: &mut World, host: usize, refused: bool) {
    if refused {
        world.gone.remove(&host);
        return;
    }
    world.crash(host);
    world.hosts[host].node.machine.wipe();
}

/// All managers but the one that leads are lost for good, and it goes on alone: nothing that was
/// answered is lost.
pub(crate) fn recover(world: &mut World) -> Result<(), String> {
    let Some(leader) = world.leader() else {
        return Ok(());
    };
    world.say(format!("host {leader} goes on without the other managers"));
    let others: Vec<usize> = world
        .staying_managers()
        .filter(|host| *host != leader)
        .collect();
    for host in others {
        world.crash(host);
        world.gone.insert(host);
    }
    world.demoted = None;
    world.last_leader = Some(leader);
    world.crash(leader);
    let now = world.clock_of(leader);
    let version = world.hosts[leader].disk.recover(&node(leader), now)?;
    world.checker.begin_anew(version);
    world.boot(leader);
    Ok(())
}

/// Whatever version was bad is followed by one that is good, once nobody asks for anything else.
/// Returns whether that is asked for now.
pub(crate) fn make_good(world: &mut World) -> bool {
    let idle = world.is_idle();
    if idle {
        world.ask(wishes::good());
    }
    idle
}

/// Whether a container of the stack was refused by its node. Whoever asked for it is told, and asks again: the node
/// may say so only after everything is well.
pub(crate) fn is_refused(world: &World) -> bool {
    let Some(plane) = world.leader().and_then(|leader| world.plane(leader)) else {
        return false;
    };
    let state = plane.state();
    let services = state.services.values().filter(|it| !it.is_standalone());
    let mut last = services.flat_map(|service| state.slots(&service.id).values());
    last.any(|task| task.status.state == TaskState::Rejected)
}

/// Nodes that are lost for good are removed, once there is somebody to say so to.
pub(crate) fn clear_away(world: &mut World) {
    if !world.is_idle() {
        return;
    }
    let Some(plane) = world.leader().and_then(|leader| world.plane(leader)) else {
        return;
    };
    let known = |host: &&usize| plane.state().nodes.contains_key(&node(**host));
    let Some(host) = world.gone.iter().find(known).copied() else {
        return;
    };
    let command = Command::RemoveNode {
        node: node(host).to_string(),
        force: Force::Yes,
    };
    let label = None;
    world.ask(Wish { command, label });
}
