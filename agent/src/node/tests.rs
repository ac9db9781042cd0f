use std::sync::Arc;
use std::time::Duration;

use scheduler::assignment::{AssignedTask, Assignment};
use scheduler::model::container::ContainerSpec;
use scheduler::model::id::ContainerId;
use scheduler::model::task::{DesiredState, TaskState};
use scheduler::report::Report;
use tokio::sync::{mpsc, watch};

use tokio_util::sync::CancellationToken;

use super::{Sources, run};
use crate::clock::Clock;
use crate::host::simulated::SimulatedHost;
use crate::host::{Observed, Phase, SeenContainer};
use crate::plan::drawing;

/// Nothing here takes longer, on a loaded machine either.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node on a simulated host, and both ends of what it talks to.
struct Bench {
    host: Arc<SimulatedHost>,
    assign: watch::Sender<Arc<Assignment>>,
    reports: mpsc::Receiver<Report>,
    generation: u64,
}

impl Bench {
    fn new(found: Observed) -> Self {
        let (host, events) = SimulatedHost::new(found);
        let host = Arc::new(host);
        let (assign, assignments) = watch::channel(Arc::default());
        let (report, reports) = mpsc::channel(64);
        let sources = Sources {
            assignments,
            events,
            reports: report,
            shutdown: CancellationToken::new(),
        };
        tokio::spawn(run(host.clone(), Clock::start(), sources));
        Self {
            host,
            assign,
            reports,
            generation: 0,
        }
    }

    fn wants(&mut self, desired: DesiredState, image: &str) {
        self.generation += 1;
        let spec = Arc::new(ContainerSpec {
            image: image.into(),
            ..ContainerSpec::default()
        });
        let task = AssignedTask {
            spec,
            ..drawing::task("web:1", desired)
        };
        let assignment = Assignment {
            generation: self.generation,
            tasks: vec![Arc::new(task)],
            ..Assignment::default()
        };
        self.assign.send_replace(Arc::new(assignment));
    }

    /// Waits until the node has said this of the task.
    async fn reports(&mut self, state: TaskState) -> String {
        loop {
            let report = tokio::time::timeout(PATIENCE, self.reports.recv())
                .await
                .unwrap_or_else(|_| panic!("it was never reported as {state:?}"))
                .unwrap();
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
            let report = tokio::time::timeout(PATIENCE, self.reports.recv())
                .await
                .unwrap()
                .unwrap();
            if !report.removed_containers.is_empty() {
                return;
            }
        }
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
