use super::*;

#[test]
fn a_status_that_says_nothing_of_its_fault_is_read_and_written() {
    let mut status = TaskStatus::new(TaskState::Failed, Timestamp::EPOCH, "exit code 3");
    let written = serde_json::to_value(&status).unwrap();
    assert_eq!(written.get("fault"), None);
    assert_eq!(
        serde_json::from_value::<TaskStatus>(written).unwrap(),
        status
    );
    status.fault = Some(Fault::Program);
    let written = serde_json::to_value(&status).unwrap();
    assert_eq!(written["fault"], "program");
    assert_eq!(
        serde_json::from_value::<TaskStatus>(written).unwrap(),
        status
    );
}
