//! What goes wrong, and how it ends.

use scheduler::control_plane::Input;
use scheduler::model::node::Role;

use crate::lasting;
use crate::wishes::{self, Wish, node};
use crate::world::{Event, MILLI, SECOND, World};

/// Something that goes wrong for a while.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The process dies; containers go on.
    Crash {
        host: usize,
    },
    /// Everything on the host dies.
    PowerCut {
        host: usize,
    },
    /// Stopped, as by SIGSTOP; what is sent to it waits.
    Pause {
        host: usize,
    },
    /// Nobody reaches it and it reaches nobody.
    Isolate {
        host: usize,
    },
    /// One direction of one link.
    Deaf {
        from: usize,
        to: usize,
    },
    /// Two halves.
    Split {
        side: Vec<bool>,
    },
    Loss {
        before: u64,
    },
    SlowDisk {
        host: usize,
    },
    FullDisk {
        host: usize,
    },
    /// A write fails: its manager stops on the spot.
    BrokenDisk {
        host: usize,
    },
    /// Every disk stalls, and then every host loses its power.
    Blackout,
    /// The power is back.
    Light,
}

/// Begins a fault, and the next one some time after.
pub(crate) fn happen(world: &mut World) -> Result<(), String> {
    if world.calm {
        return Ok(());
    }
    let pause = world.chance.between(SECOND / 5, 5 * SECOND / 2);
    world.after(pause, Event::Fault);
    world.faults += 1;
    let all = world.hosts.len();
    // Whoever leads has the most to lose.
    let host = match world.leader() {
        Some(leader) if world.chance.happens(350) => leader,
        _ => world.chance.index(all),
    };
    let lasts = world.chance.between(SECOND / 5, 6 * SECOND);
    let fault = match world.chance.index(18) {
        0 | 1 => Fault::Crash { host },
        2 => Fault::PowerCut { host },
        3 | 4 => Fault::Pause { host },
        5 | 6 => Fault::Isolate { host },
        7 => Fault::Deaf {
            from: host,
            to: world.chance.index(all),
        },
        8 => Fault::Split {
            side: (0..=all).map(|_| world.chance.happens(500)).collect(),
        },
        9 => Fault::Loss { before: world.loss },
        10 => Fault::SlowDisk { host },
        11 => Fault::Blackout,
        12 => {
            world.hosts[host].crash_at_write = true;
            return Ok(());
        }
        13 => {
            let off = world.chance.between(0, 7200) as i64 - 3600;
            world.say(format!("the date of host {host} is set {off} s off"));
            world.hosts[host].date_off = off * SECOND as i64;
            return Ok(());
        }
        14 => Fault::FullDisk { host },
        15 => Fault::BrokenDisk { host },
        16 => {
            lasting::leave(world);
            return Ok(());
        }
        _ => return members(world),
    };
    begin(world, fault, lasts)
}

fn begin(world: &mut World, fault: Fault, lasts: u64) -> Result<(), String> {
    world.say(format!("{fault:?} for {} ms", lasts / MILLI));
    match &fault {
        Fault::Crash { host } => world.crash(*host),
        Fault::PowerCut { host } => cut_power(world, *host),
        Fault::Pause { host } if world.hosts[*host].up => world.hosts[*host].paused = true,
        Fault::Pause { .. } => {}
        Fault::Isolate { host } => isolate(world, *host, true),
        Fault::Deaf { from, to } => world.cut[*from][*to] = from != to,
        Fault::Split { side } => split(world, side, true),
        Fault::Loss { .. } => world.loss = 300,
        Fault::SlowDisk { host } => world.hosts[*host].slow_disk = true,
        Fault::FullDisk { host } => world.fill(*host, true)?,
        Fault::BrokenDisk { host } => world.stop_manager(*host),
        Fault::Blackout => slow_down(world, true),
        Fault::Light => {}
    }
    world.after(lasts, Event::Undo(fault));
    Ok(())
}

/// The end of a fault; of a power cut that was foreseen, its beginning.
pub(crate) fn undo(world: &mut World, fault: Fault) -> Result<(), String> {
    if world.calm {
        return Ok(());
    }
    match fault {
        Fault::PowerCut { host } if world.hosts[host].up => {
            cut_power(world, host);
            world.after(SECOND, Event::Undo(Fault::Crash { host }));
        }
        Fault::Crash { host } | Fault::PowerCut { host } => {
            if !world.hosts[host].up {
                world.boot(host);
            }
        }
        Fault::Pause { host } => {
            if world.hosts[host].paused {
                world.resume(host);
            }
        }
        Fault::Isolate { host } => isolate(world, host, false),
        Fault::Deaf { from, to } => world.cut[from][to] = false,
        Fault::Split { side } => split(world, &side, false),
        Fault::Loss { before } => world.loss = before.min(20),
        Fault::SlowDisk { host } => world.hosts[host].slow_disk = false,
        Fault::FullDisk { host } => world.fill(host, false)?,
        Fault::BrokenDisk { host } => {
            world.crash(host);
            world.boot(host);
        }
        Fault::Blackout => {
            for host in 0..world.hosts.len() {
                cut_power(world, host);
            }
            slow_down(world, false);
            world.after(SECOND, Event::Undo(Fault::Light));
        }
        Fault::Light => {
            for host in 0..world.hosts.len() {
                if !world.hosts[host].up {
                    world.boot(host);
                }
            }
        }
    }
    Ok(())
}

fn slow_down(world: &mut World, slow: bool) {
    for host in &mut world.hosts {
        host.slow_disk = slow;
    }
}

fn cut_power(world: &mut World, host: usize) {
    world.crash(host);
    let now = world.clock_of(host);
    world.hosts[host].node.machine.power_cut(now);
}

fn isolate(world: &mut World, host: usize, cut: bool) {
    for other in 0..world.cut.len() {
        world.cut[host][other] = cut && host != other;
        world.cut[other][host] = cut && host != other;
    }
}

fn split(world: &mut World, side: &[bool], cut: bool) {
    for (from, one) in side.iter().enumerate() {
        for (to, other) in side.iter().enumerate() {
            if one != other {
                world.cut[from][to] = cut;
            }
        }
    }
}

/// A manager is demoted or promoted, or the leader makes way.
fn members(world: &mut World) -> Result<(), String> {
    let host = world.chance.index(world.managers);
    if world.chance.happens(500) {
        let Some(leader) = world.leader() else {
            return Ok(());
        };
        world.say(format!("host {leader} makes way for host {host}"));
        if let Some(member) = &mut world.hosts[leader].member {
            member.plane.transfer(&node(host));
        }
        return world.feed(leader, Input::Woken);
    }
    let (host, role) = match world.demoted.take() {
        Some(host) => (host, Role::Manager),
        None => {
            world.demoted = Some(host);
            (host, Role::Worker)
        }
    };
    world.say(format!("host {host} becomes a {role}"));
    let command = wishes::make(host, role);
    let label = None;
    world.ask(Wish { command, label });
    Ok(())
}
