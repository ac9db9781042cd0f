//! Placements that three managers have agreed on and have on disk.
//!
//!     thread ─ ControlPlane ─ file        each waits for its own disk;
//!        │ messages                       what is sent meanwhile waits for nobody
//!     thread ─ ControlPlane ─ file
//!        │
//!     thread ─ ControlPlane ─ file
//!
//! A file takes the entries as they are proposed, and each write is waited for. What a node sends to
//! another is handed over in memory.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use scheduler::control_plane::{ControlPlane, Input, Output};
use scheduler::model::id::NodeId;
use scheduler::model::time::Timestamp;
use scheduler::raft::{Members, Position, Restored, TICK, Write, number_of};

use super::world::{self, Wishes};

const NODES: usize = 1_000;
const MANAGERS: usize = 3;
/// Longer than any election, and than any batch takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run() {
    println!("| durable, {MANAGERS} managers, {NODES} nodes | placements/s | decisions/s |");
    println!("|---|---|---|");
    for (stacks, services, replicas) in [(40, 10, 100), (200, 1, 1)] {
        let mut group = Group::new();
        group.wait_for_leader();
        let began = Instant::now();
        for number in 0..stacks {
            let names: Vec<String> = (0..services).map(|it| format!("s{it}")).collect();
            group.deploy(number, &names, replicas);
        }
        let took = began.elapsed().as_secs_f64();
        let tasks = stacks * services * replicas as usize;
        println!(
            "| {stacks} stacks of {services} × {replicas}, one after the other | {:.0} | {:.0} |",
            tasks as f64 / took,
            stacks as f64 / took,
        );
    }
}

enum News {
    Leads(usize),
    Answered,
    Refused,
}

/// What a thread is told.
enum Told {
    Input(Box<Input>),
    End,
}

struct Group {
    members: Vec<Sender<Told>>,
    threads: Vec<thread::JoinHandle<()>>,
    news: Receiver<News>,
    leader: usize,
}

impl Group {
    fn new() -> Self {
        let (tell, news) = channel();
        let ways: Vec<_> = (0..MANAGERS).map(|_| channel()).collect();
        let members: Vec<Sender<Told>> = ways.iter().map(|(way, _)| way.clone()).collect();
        let threads = ways.into_iter().enumerate().map(|(index, (_, inputs))| {
            let (peers, tell) = (members.clone(), tell.clone());
            thread::spawn(move || Member::new(index, peers, tell).live(&inputs))
        });
        Self {
            threads: threads.collect(),
            members,
            news,
            leader: 0,
        }
    }

    fn wait_for_leader(&mut self) {
        while let Ok(news) = self.news.recv_timeout(PATIENCE) {
            if let News::Leads(index) = news {
                self.leader = index;
                return;
            }
        }
        panic!("nobody leads");
    }

    /// Asks whoever leads until it is done: the same command is carried out once.
    fn deploy(&mut self, number: usize, services: &[String], replicas: u32) {
        let name = format!("stack{number}");
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let input = world::command(number, &name, services, replicas, Wishes::Plain);
            let told = Told::Input(Box::new(input));
            self.members[self.leader].send(told).unwrap();
            match self.news.recv_timeout(PATIENCE).unwrap() {
                News::Answered => return,
                News::Leads(index) => self.leader = index,
                News::Refused => thread::sleep(TICK),
            }
        }
        panic!("nobody carries it out");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for member in &self.members {
            let _ = member.send(Told::End);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Member {
    index: usize,
    plane: ControlPlane,
    path: PathBuf,
    log: File,
    peers: Vec<Sender<Told>>,
    tell: Sender<News>,
    led: bool,
}

fn id(index: usize) -> NodeId {
    NodeId::new(format!("n{index}"))
}

impl Member {
    fn new(index: usize, peers: Vec<Sender<Told>>, tell: Sender<News>) -> Self {
        let voters = (0..MANAGERS).map(|index| number_of(&id(index)));
        let mut voters: Vec<u64> = voters.collect();
        voters.sort_unstable();
        let restored = Restored {
            snapshot: Position {
                members: Members {
                    voters,
                    ..Members::default()
                },
                ..Position::default()
            },
            ..Restored::default()
        };
        let seed = [u8::try_from(index).unwrap(); 32];
        let state = world::managed(NODES, MANAGERS);
        let path = format!("wharfie-bench-{}-{index}", std::process::id());
        let path = std::env::temp_dir().join(path);
        Self {
            index,
            plane: ControlPlane::start(&id(index), seed, restored, state).unwrap(),
            log: File::create(&path).unwrap(),
            path,
            peers,
            tell,
            led: false,
        }
    }

    fn live(mut self, inputs: &Receiver<Told>) {
        let mut next_tick = Instant::now() + TICK;
        loop {
            let wait = next_tick.saturating_duration_since(Instant::now());
            match inputs.recv_timeout(wait) {
                Ok(Told::Input(input)) => self.handle(*input),
                Ok(Told::End) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    next_tick += TICK;
                    self.handle(Input::Tick);
                }
            }
            if self.plane.leads() && !self.led {
                let _ = self.tell.send(News::Leads(self.index));
            }
            self.led = self.plane.leads();
        }
        let _ = std::fs::remove_file(&self.path);
    }

    fn handle(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for output in self.plane.handle(input, now()) {
                match output {
                    Output::Write(write) => {
                        self.write(&write);
                        inputs.push(Input::Persisted {
                            number: write.number,
                        });
                    }
                    Output::Snapshot { position, .. } => inputs.push(Input::SnapshotSaved {
                        index: position.index,
                    }),
                    Output::Send(message) => {
                        let is = |peer: &usize| number_of(&id(*peer)) == message.to;
                        let peer = (0..MANAGERS).find(is).unwrap();
                        let message = Told::Input(Box::new(Input::Message(message)));
                        let _ = self.peers[peer].send(message);
                    }
                    Output::Reply { result, .. } => {
                        let refused = |_| News::Refused;
                        let news = result.map_or_else(refused, |_| News::Answered);
                        let _ = self.tell.send(news);
                    }
                    Output::Install { .. }
                    | Output::Assign { .. }
                    | Output::ReadReady { .. }
                    | Output::Wake(_) => {}
                }
            }
        }
    }

    fn write(&mut self, write: &Write) {
        if let Some(vote) = &write.vote {
            writeln!(self.log, "{vote:?}").unwrap();
        }
        for entry in write.entries.iter() {
            self.log.write_all(&entry.data).unwrap();
        }
        self.log.sync_data().unwrap();
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp::from_nanos(u64::try_from(since.unwrap().as_nanos()).unwrap())
}
