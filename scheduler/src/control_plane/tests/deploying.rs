use super::world::stack;
use super::*;
use crate::model::container::PullPolicy;
use crate::model::id::ContainerId;
use crate::model::image::ImagePin;

fn version(world: &World) -> u64 {
    world.plane.state().version
}

#[test]
fn a_second_up_changes_nothing() {
    let mut world = World::new();
    world
        .up("web v1 x2 needs db:started port 80\ndb v1 volume data")
        .unwrap();
    world.settle();
    let before = version(&world);
    let reply = world
        .up("web v1 x2 needs db:started port 80\ndb v1 volume data")
        .unwrap();
    assert_eq!(
        reply,
        Reply::Deployed {
            changed: Vec::new(),
            orphans: Vec::new()
        }
    );
    world.settle();
    assert_eq!(version(&world), before);
}

#[test]
fn only_what_changed_is_replaced_and_the_old_one_stays_until_the_new_is_ready() {
    let mut world = World::new();
    world.up("web v1 needs db:started\ndb v1").unwrap();
    world.settle();
    world.take_trace();
    let (web, db) = (world.container("shop-web-1"), world.container("shop-db-1"));
    world.up("web v2 needs db:started\ndb v1").unwrap();
    world.settle();
    assert_eq!(
        world.take_trace(),
        "prepare shop-web-1 | stop shop-web-1 | remove shop-web-1, start shop-web-1"
    );
    assert_eq!(world.container("shop-db-1"), db);
    let task = world
        .assignment
        .tasks
        .iter()
        .find(|task| task.name == "shop-web-1")
        .unwrap();
    assert_eq!(task.replaces, Some(web));
    assert_eq!(world.tasks(), "db.1 running, web.1 running");
}

#[test]
fn what_concerns_only_the_scheduler_replaces_nothing() {
    let mut world = World::new();
    world.up("web v1\ndb v1").unwrap();
    world.settle();
    world.take_trace();
    world
        .up("web v1 x2 needs db:started restart always start-first\ndb v1")
        .unwrap();
    world.settle();
    assert_eq!(world.take_trace(), "prepare shop-web-2 | start shop-web-2");
}

#[test]
fn an_image_that_does_not_exist_leaves_the_old_version_serving() {
    let mut world = World::new();
    world.up("web v1 x2").unwrap();
    world.settle();
    world.fate("web", Fate::Reject);
    world.up("web v2 x2").unwrap();
    world.settle();
    let running = |world: &World| {
        let tasks = &world.assignment.tasks;
        tasks.iter().filter(|task| task.spec.image == "v1").count()
    };
    assert_eq!(running(&world), 2);
    let service = world
        .plane
        .state()
        .services
        .values()
        .next()
        .unwrap()
        .clone();
    let paused = "container 1: no such image";
    assert_eq!(
        (service.rollout.phase, service.rollout.reason.as_str()),
        (crate::model::rollout::RolloutPhase::Paused, paused)
    );
    // Once there is such an image, the same `up` goes on.
    world.fate("web", Fate::Run);
    world.up("web v2 x2").unwrap();
    world.settle();
    assert_eq!(running(&world), 0);
    assert_eq!(world.tasks(), "web.1 running, web.2 running");
}

#[test]
fn start_first_keeps_the_old_one_until_the_new_one_has_proved_itself() {
    let mut world = World::new();
    world.up("web v1 start-first").unwrap();
    world.settle();
    world.take_trace();
    world.fate("web", Fate::Health(HealthStatus::Starting));
    world.up("web v2 start-first").unwrap();
    world.settle();
    assert_eq!(world.take_trace(), "prepare shop-web-1 | start shop-web-1");
    world.fate("web", Fate::Health(HealthStatus::Healthy));
    world.settle();
    // It may still end soon after its start.
    assert_eq!(world.take_trace(), "");
    world.wait(Duration::from_secs(5));
    world.settle();
    assert_eq!(world.take_trace(), "stop shop-web-1 | remove shop-web-1");
}

#[test]
fn one_by_one_waits_for_each_to_prove_itself() {
    let mut world = World::new();
    world.up("web v1 x3 one-by-one").unwrap();
    world.settle();
    world.up("web v2 x3 one-by-one").unwrap();
    let new = |world: &World| {
        let tasks = &world.assignment.tasks;
        tasks.iter().filter(|task| task.spec.image == "v2").count()
    };
    for done in 1..=3 {
        world.settle();
        assert_eq!(new(&world), done);
        world.wait(Duration::from_secs(4));
        world.settle();
        assert_eq!(new(&world), done, "the monitored time is not over");
        world.wait(Duration::from_secs(1));
    }
    world.settle();
    assert_eq!(world.assignment.tasks.len(), 3);
}

#[test]
fn a_dependent_that_asks_for_it_is_restarted_when_its_dependency_is_replaced() {
    let mut world = World::new();
    world
        .up("web v1 needs db:started+restart\nlog v1 needs db:started\ndb v1")
        .unwrap();
    world.settle();
    let ids = |world: &World, name: &str| -> (ContainerId, String) {
        let task = world
            .assignment
            .tasks
            .iter()
            .find(|task| task.name == name)
            .unwrap();
        (task.container.clone(), task.id.to_string())
    };
    let (web, log) = (ids(&world, "shop-web-1"), ids(&world, "shop-log-1"));
    world
        .up("web v1 needs db:started+restart\nlog v1 needs db:started\ndb v2")
        .unwrap();
    world.settle();
    assert_eq!(ids(&world, "shop-log-1"), log);
    let after = ids(&world, "shop-web-1");
    assert_eq!(after.0, web.0);
    assert_ne!(after.1, web.1);
    assert_eq!(world.tasks(), "db.1 running, log.1 running, web.1 running");
}

#[test]
fn up_starts_what_was_stopped_or_failed_but_not_what_has_done_its_work() {
    let mut world = World::new();
    world.fate("job", Fate::Exit(0));
    world.fate("bad", Fate::Exit(1));
    let drawing = "web v1\njob v1\nbad v1";
    world.up(drawing).unwrap();
    world.settle();
    let stop = Command::StopServices {
        stack: "shop".into(),
        services: vec!["web".into()],
        grace_seconds: None,
    };
    world.command(stop).unwrap();
    world.settle();
    world.take_trace();
    world.fate("bad", Fate::Run);
    world.up(drawing).unwrap();
    world.settle();
    let trace = world.take_trace();
    assert!(!trace.contains("job"), "{trace}");
    assert_eq!(
        world.tasks(),
        "bad.1 running, job.1 complete, web.1 running"
    );
}

fn found(id: &str, digest: Option<&str>) -> DeployOptions {
    let pin = ImagePin {
        id: format!("sha256:{id}"),
        digest: digest.map(str::to_owned),
    };
    DeployOptions {
        pins: [("web".to_owned(), pin)].into(),
        ..DeployOptions::default()
    }
}

#[test]
fn an_image_built_anew_replaces_its_containers_once() {
    let mut world = World::new();
    world.up("web v1").unwrap();
    world.settle();
    world.take_trace();
    world.up_with("web v1", found("v1", None)).unwrap();
    world.settle();
    assert_eq!(world.take_trace(), "");
    world.up_with("web v1", found("other", None)).unwrap();
    world.settle();
    assert!(world.take_trace().contains("remove shop-web-1"));
}

#[test]
fn what_an_image_was_found_to_be_holds_until_something_else_is_found() {
    let mut world = World::new();
    let pin = |world: &World| {
        let service = world.plane.state().service_named("shop", "web").unwrap();
        let pin = service.spec.container.pin.as_ref();
        pin.map_or_else(String::new, |pin| pin.id.clone())
    };
    world.up_with("web v1", found("v1", Some("a"))).unwrap();
    world.settle();
    assert_eq!(pin(&world), "sha256:v1");
    world.take_trace();
    // Nobody looked, or somebody did on another platform; how an image is come by is no change.
    let mut stack = stack("shop", "web v1");
    let web = stack.services.get_mut("web").unwrap();
    Arc::make_mut(&mut web.container).pull_policy = PullPolicy::Never;
    let options = DeployOptions::default();
    world.command(Command::Deploy { stack, options }).unwrap();
    world.up("web v1").unwrap();
    world.up_with("web v1", found("arm", Some("a"))).unwrap();
    world.settle();
    assert_eq!(world.take_trace(), "");
    assert_eq!(pin(&world), "sha256:v1");
    world.up_with("web v1", found("v2", Some("b"))).unwrap();
    world.settle();
    assert!(world.take_trace().contains("remove shop-web-1"));
    assert_eq!(pin(&world), "sha256:v2");
    // It says nothing of an image with another name.
    world.up("web v3").unwrap();
    assert_eq!(pin(&world), "");
}

#[test]
fn no_start_makes_containers_and_start_starts_them() {
    let mut world = World::new();
    let options = DeployOptions {
        start: Start::Later,
        ..DeployOptions::default()
    };
    world
        .up_with("web v1 needs db:started\ndb v1", options)
        .unwrap();
    world.settle();
    assert_eq!(world.tasks(), "db.1 ready, web.1 ready");
    let start = Command::StartServices {
        stack: "shop".into(),
        services: Vec::new(),
    };
    world.command(start).unwrap();
    world.settle();
    assert_eq!(world.tasks(), "db.1 running, web.1 running");
}

#[test]
fn only_the_named_service_and_what_it_needs_come_up() {
    let mut world = World::new();
    let options = DeployOptions {
        services: vec!["web".into()],
        ..DeployOptions::default()
    };
    world
        .up_with("web v1 needs db:started\ndb v1\nother v1", options.clone())
        .unwrap();
    world.settle();
    assert_eq!(world.tasks(), "db.1 running, web.1 running");
    let mut world = World::new();
    let options = DeployOptions {
        dependencies: Dependencies::Ignore,
        ..options
    };
    world
        .up_with("web v1 needs db:started\ndb v1\nother v1", options)
        .unwrap();
    world.settle();
    assert_eq!(world.tasks(), "web.1 running");
}

#[test]
fn orphans_are_named_or_removed() {
    let mut world = World::new();
    world.up("web v1\nold v1").unwrap();
    world.settle();
    let Reply::Deployed { orphans, .. } = world.up("web v1").unwrap() else {
        panic!("not deployed");
    };
    assert_eq!(orphans, ["old"]);
    let options = DeployOptions {
        orphans: Orphans::Remove,
        ..DeployOptions::default()
    };
    world.up_with("web v1", options).unwrap();
    world.settle();
    assert_eq!(world.tasks(), "web.1 running");
}

#[test]
fn down_and_up_again_meet_without_harm() {
    let mut world = World::new();
    world.up("web v1 port 80\ndb v1 volume data").unwrap();
    world.settle();
    world.down(Volumes::Delete);
    world.round();
    world.up("web v1 port 80\ndb v1 volume data").unwrap();
    world.settle();
    assert_eq!(world.tasks(), "db.1 running, web.1 running");
    assert!(!world.plane.state().volumes["shop_data"].removing);
}

#[track_caller]
fn refused(first: &str, drawing: &str, expected: &str) {
    let mut world = World::new();
    if !first.is_empty() {
        let stack = world::stack("first", first);
        let options = DeployOptions::default();
        world.command(Command::Deploy { stack, options }).unwrap();
        world.settle();
    }
    let before = world.plane.state().clone();
    let refusal = world.up(drawing).unwrap_err();
    assert_eq!(refusal.to_string(), expected);
    assert!(
        *world.plane.state() == before,
        "a refused command changes nothing"
    );
}

#[test]
fn what_cannot_come_up_is_refused_before_anything_starts() {
    refused(
        "web v1 port 8080",
        "api v1 port 8080",
        "port 8080/tcp is already published by service `web` of stack `first`; \
         service `api` wants it too",
    );
    refused(
        "",
        "api v1 port 80\nweb v1 port 80",
        "port 80/tcp is already published by service `api`; service `web` wants it too",
    );
    refused(
        "web v1 named cache",
        "api v1 named cache",
        "container name `cache` is already used by service `web` of stack `first`",
    );
    refused(
        "",
        "a v1 needs b:started\nb v1 needs a:started",
        "services depend on each other in a circle: a → b → a",
    );
    refused(
        "",
        "a v1 named one x2",
        "service `a` has the fixed container name `one` and cannot have 2 containers",
    );
}

#[test]
fn a_mistyped_service_is_recognised() {
    let mut world = World::new();
    let options = DeployOptions {
        services: vec!["wbe".into()],
        ..DeployOptions::default()
    };
    let refusal = world.up_with("web v1", options).unwrap_err();
    assert_eq!(refusal.hint().unwrap(), "Did you mean `web`?");
}
