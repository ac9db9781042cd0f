use std::sync::Arc;
use std::time::Duration;

use scheduler::assignment::{AssignedTask, Assignment};
use scheduler::model::container::ContainerSpec;
use scheduler::model::id::ContainerId;
use scheduler::model::id::TaskId;
use scheduler::model::service::{RestartCondition, RestartPolicy};
use scheduler::model::task::{DesiredState, StopOrder, TaskState};
use scheduler::model::time::Timestamp;
use scheduler::report::{Report, Tally};
use tokio::sync::{mpsc, watch};

use tokio_util::sync::CancellationToken;

use super::{Contact, Said, Sources, run};
use crate::clock::Clock;
use crate::host::simulated::SimulatedHost;
use crate::host::{Observed, Phase, SeenContainer};
use crate::ledger::{Remembered, Reruns};
use crate::plan::drawing;

/// Nothing here takes longer, on a loaded machine either.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node on a simulated host, and both ends of what it talks to.
struct Bench {
    host: Arc<SimulatedHost>,
    assign: watch::Sender<Arc<Assignment>>,
    contact: watch::Sender<Contact>,
    reports: mpsc::Receiver<Said>,
    reruns: watch::Receiver<Reruns>,
    generation: u64,
    policy: RestartPolicy,
    clock: Clock,
}

impl Bench {
    fn new(found: Observed) -> Self {
        let bench = Self::remembering(found, Remembered::default());
        bench.hears(1);
        bench
    }

    /// Nobody listens yet.
    fn remembering(found: Observed, remembered: Remembered) -> Self {
        let (host, events) = SimulatedHost::new(found);
        let host = Arc::new(host);
        let (assign, assignments) = watch::channel(Arc::default());
        let (report, reports) = mpsc::channel(64);
        let (contact, contacts) = watch::channel(Contact::Lost);
        let (reruns, counted) = watch::channel(Reruns::new());
        let (statuses, _) = watch::channel(Arc::default());
        let sources = Sources {
            remembered,
            assignments,
            contact: contacts,
            reruns,
            statuses,
            troubles: watch::channel(super::Troubles::new()).0,
            events,
            reports: report,
            shutdown: CancellationToken::new(),
        };
        let clock = Clock::start();
        tokio::spawn(run(host.clone(), clock, sources));
        Self {
            host,
            assign,
            contact,
            reports,
            reruns: counted,
            generation: 0,
            policy: RestartPolicy::default(),
            clock,
        }
    }

    /// A manager listens.
    fn hears(&self, session: u64) {
        self.contact.send_replace(Contact::Open { session });
    }

    fn silence(&self) {
        self.contact.send_replace(Contact::Silent);
    }

    async fn next(&mut self) -> Report {
        let said = tokio::time::timeout(PATIENCE, self.reports.recv()).await;
        said.expect("nothing is said").unwrap().report
    }

    /// Waits until the host has done this so many times.
    async fn has_done(&self, what: &str, times: usize) {
        for _ in 0..3000 {
            let count = self.host.log().iter().filter(|did| *did == what).count();
            if count >= times {
                return assert_eq!(count, times, "{what}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not {times} times {what}: {:?}", self.host.log());
    }

    async fn crashes(&self) {
        self.host.crash("web", "web:1", self.clock.now()).await;
    }

    fn wants(&mut self, desired: DesiredState, image: &str) {
        self.generation += 1;
        let spec = Arc::new(ContainerSpec {
            image: image.into(),
            ..ContainerSpec::default()
        });
        let task = AssignedTask {
            spec,
            restart: self.policy.clone(),
            ..drawing::task("web:1", desired)
        };
        self.assigns(assignment(self.generation, task));
    }

    fn assigns(&self, assignment: Assignment) {
        self.assign.send_replace(Arc::new(assignment));
    }

    /// Waits until the node has said this of the task.
    async fn reports(&mut self, state: TaskState) -> String {
        loop {
            let report = self.next().await;
            if let Some((_, status)) = report
                .tasks
                .iter()
                .find(|(_, status)| status.state == state)
            {
                return status.reason.clone();
            }
        }
    }

    async fn reports_removal(&mut self) {
        loop {
            let report = self.next().await;
            if !report.removed_containers.is_empty() {
                return;
            }
        }
    }
}

fn assignment(generation: u64, task: AssignedTask) -> Assignment {
    Assignment {
        generation,
        tasks: vec![Arc::new(task)],
        ..Assignment::default()
    }
}

fn always() -> RestartPolicy {
    RestartPolicy {
        condition: RestartCondition::Always,
        delay: Duration::from_millis(10),
        ..RestartPolicy::default()
    }
}

#[tokio::test]
async fn a_container_goes_up_and_down() {
    let mut bench = Bench::new(Observed::default());
    bench.wants(DesiredState::Running, "nginx");
    bench.reports(TaskState::Running).await;
    bench.wants(DesiredState::Remove, "nginx");
    bench.reports(TaskState::Shutdown).await;
    bench.reports_removal().await;
}

#[tokio::test]
async fn a_container_that_could_not_be_told_to_end_is_told_again() {
    let mut bench = Bench::new(Observed::default());
    bench.wants(DesiredState::Running, "nginx");
    bench.reports(TaskState::Running).await;
    bench.host.fail("signal a container", 2);
    bench.wants(DesiredState::Remove, "nginx");
    bench.reports(TaskState::Shutdown).await;
}

#[tokio::test]
async fn a_container_that_could_not_be_killed_is_killed_again() {
    let mut bench = Bench::new(Observed::default());
    bench.wants(DesiredState::Running, "nginx");
    bench.reports(TaskState::Running).await;
    bench.host.fail("signal a container", u32::MAX);
    bench.host.fail("kill a container", 2);
    let at_once = StopOrder {
        grace_seconds: Some(0),
        ..StopOrder::default()
    };
    bench.assigns(assignment(
        2,
        AssignedTask {
            stop: Some(at_once),
            ..drawing::task("web:1", DesiredState::Remove)
        },
    ));
    bench.reports(TaskState::Shutdown).await;
}

#[tokio::test]
async fn a_missing_image_is_reported_with_its_reason() {
    let mut bench = Bench::new(Observed::default());
    bench.host.refuse_image("nginz", "no such image: nginz");
    bench.wants(DesiredState::Running, "nginz");
    assert_eq!(
        bench.reports(TaskState::Rejected).await,
        "no such image: nginz"
    );
}

#[tokio::test]
async fn a_preparation_that_nobody_wants_any_longer_is_given_up() {
    let mut bench = Bench::new(Observed::default());
    bench.host.never_finish_image("huge");
    bench.wants(DesiredState::Running, "huge");
    bench.reports(TaskState::Preparing).await;
    bench.wants(DesiredState::Remove, "huge");
    bench.reports_removal().await;
}

#[tokio::test]
async fn nothing_is_touched_before_the_first_assignment() {
    let mut found = Observed::default();
    found.containers.insert(
        ContainerId::new("web"),
        SeenContainer::new(None, Phase::Bare),
    );
    let mut bench = Bench::new(found);
    // Time enough for something that would be wrong.
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(bench.host.log(), Vec::<String>::new());
    bench.generation = 0;
    bench.assign.send_replace(Arc::new(Assignment {
        generation: 1,
        ..Assignment::default()
    }));
    let removal = async {
        while bench.host.log().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, removal).await.unwrap();
    assert_eq!(bench.host.log(), ["Container(web) remove a container"]);
}

/// What a node finds of a container that it ran before it was started again.
fn found(task: &str) -> Observed {
    let mut found = Observed::default();
    let phase = Phase::Found {
        started_at: Timestamp::EPOCH,
    };
    found.containers.insert(
        ContainerId::new("web"),
        SeenContainer::new(Some(TaskId::new(task)), phase),
    );
    found
}

fn remembered(desired: DesiredState) -> Remembered {
    let task = AssignedTask {
        restart: always(),
        ..drawing::task("web:1", desired)
    };
    Remembered {
        assignment: Some(Arc::new(assignment(5, task))),
        reruns: Reruns::new(),
    }
}

#[tokio::test]
async fn without_managers_it_goes_by_what_it_remembers() {
    let bench = Bench::remembering(Observed::default(), remembered(DesiredState::Running));
    bench.has_done("Container(web) start a container", 1).await;

    let bench = Bench::remembering(found("web:1"), remembered(DesiredState::Running));
    bench
        .has_done("Container(web) take over a container", 1)
        .await;
}

#[tokio::test]
async fn what_ends_is_restarted_only_while_no_manager_answers_and_told_afterwards() {
    let mut bench = Bench::new(Observed::default());
    bench.policy = always();
    bench.wants(DesiredState::Running, "nginx");
    bench.reports(TaskState::Running).await;

    // Lost for a moment: the manager may be back and decide.
    bench.contact.send_replace(Contact::Lost);
    bench.crashes().await;
    bench
        .has_done("Container(web) release a container", 1)
        .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    bench.has_done("Container(web) start a container", 1).await;

    bench.silence();
    bench.has_done("Container(web) start a container", 2).await;
    bench.crashes().await;
    bench.has_done("Container(web) start a container", 3).await;
    let tally = Tally {
        restarts: 2,
        failures: 2,
    };
    let reruns = Reruns::from([(TaskId::new("web:1"), tally)]);
    assert_eq!(*bench.reruns.borrow(), reruns);

    // It is told everything, and nothing of the ends between.
    bench.hears(2);
    let report = bench.next().await;
    assert_eq!(report.reruns.len(), 1);
    assert_eq!(report.reruns[0].tally, tally);
    assert_eq!(report.tasks.len(), 1);
    assert_eq!(report.tasks[0].1.state, TaskState::Running);

    // The scheduler has counted it: nothing is left to tell.
    bench.generation += 1;
    let task = AssignedTask {
        restarts: 2,
        failures: 2,
        restart: always(),
        ..drawing::task("web:1", DesiredState::Running)
    };
    bench.assigns(assignment(bench.generation, task));
    let counted = bench.reruns.wait_for(Reruns::is_empty);
    tokio::time::timeout(PATIENCE, counted)
        .await
        .unwrap()
        .unwrap();

    // With a manager there, an end is reported and nothing else.
    bench.crashes().await;
    bench.reports(TaskState::Failed).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    bench.has_done("Container(web) start a container", 3).await;
}

#[tokio::test]
async fn a_restart_waits_for_its_back_off_and_leaves_the_decision_to_a_manager_that_returns() {
    let mut bench = Bench::new(Observed::default());
    bench.policy = RestartPolicy {
        delay: Duration::from_secs(3600),
        ..always()
    };
    bench.wants(DesiredState::Running, "nginx");
    bench.reports(TaskState::Running).await;
    bench.silence();
    bench.crashes().await;
    bench
        .has_done("Container(web) release a container", 1)
        .await;
    bench.hears(2);
    let report = bench.next().await;
    assert_eq!(report.reruns, []);
    assert_eq!(report.tasks[0].1.state, TaskState::Failed);
}

#[tokio::test]
async fn a_task_that_must_not_run_is_not_restarted() {
    let mut bench = Bench::new(Observed::default());
    bench.policy = always();
    bench.wants(DesiredState::Running, "nginx");
    bench.reports(TaskState::Running).await;
    bench.wants(DesiredState::Shutdown, "nginx");
    bench.silence();
    bench
        .has_done("Container(web) release a container", 1)
        .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    bench.has_done("Container(web) start a container", 1).await;
}

#[tokio::test]
async fn silence_deletes_nothing_and_a_manager_that_returns_drops_what_was_replaced() {
    let mut found = found("web:1");
    found.containers.insert(
        ContainerId::new("db"),
        SeenContainer::new(Some(TaskId::new("db:1")), Phase::Bare),
    );
    let bench = Bench::remembering(found, remembered(DesiredState::Running));
    bench.silence();
    bench
        .has_done("Container(web) take over a container", 1)
        .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bench.host.log().len(), 1);

    bench.hears(1);
    bench.assigns(Assignment {
        generation: 9,
        ..Assignment::default()
    });
    bench.has_done("Container(db) remove a container", 1).await;
    bench.has_done("Container(web) remove a container", 1).await;
}

#[tokio::test]
async fn an_older_assignment_is_refused_by_epoch_first_and_generation_then() {
    let bench = Bench::remembering(found("web:1"), remembered(DesiredState::Running));
    bench
        .has_done("Container(web) take over a container", 1)
        .await;
    let none = |epoch, generation| Assignment {
        epoch,
        generation,
        ..Assignment::default()
    };
    bench.hears(1);
    bench.assigns(none(0, 4));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bench.host.log().len(), 1);
    // A cluster that was recovered counts anew.
    bench.assigns(none(1, 1));
    bench.has_done("Container(web) remove a container", 1).await;
    let task = drawing::task("web:1", DesiredState::Running);
    bench.assigns(assignment(99, task));
    tokio::time::sleep(Duration::from_millis(50)).await;
    bench.has_done("Container(web) start a container", 0).await;
}
