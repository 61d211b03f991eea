use super::super::workloads::tests::{placed, pod};
use super::*;

fn count(placed: &Placed) -> usize {
    placed.workloads.len()
}

#[tokio::test]
async fn only_nodes_whose_pods_have_changed_are_woken() {
    let workloads = NodeWorkloads::default();
    let configuration = Arc::default();
    let mut first = workloads.of("n1");
    assert!(first.borrow_and_update().is_none(), "not known yet");
    let one = pod("a", r#"{"nodeName":"n1"}"#, "{}", "Running");
    let two = pod("b", r#"{"nodeName":"n2"}"#, "{}", "Running");

    workloads.publish(&configuration, placed(&[Arc::clone(&one)], "weir-system"));
    assert!(first.has_changed().expect("open"));
    assert_eq!(first.borrow_and_update().as_ref().map(count), Some(1));
    let mut second = workloads.of("n2");
    assert_eq!(
        second.borrow_and_update().as_ref().map(count),
        Some(0),
        "known to be empty"
    );

    workloads.publish(&configuration, placed(&[one, two], "weir-system"));
    assert!(!first.has_changed().expect("open"));
    assert_eq!(second.borrow_and_update().as_ref().map(count), Some(1));
    let all = || workloads.all().expect("known").1.len();
    assert_eq!(all(), 2);

    workloads.publish(&configuration, BTreeMap::new());
    assert_eq!(first.borrow_and_update().as_ref().map(count), Some(0));
    assert_eq!(all(), 0);

    // What binds the pods of a node may have changed without them.
    first.mark_unchanged();
    workloads.publish(&configuration, BTreeMap::new());
    assert!(!first.has_changed().expect("open"));
    let other = Arc::default();
    workloads.publish(&other, BTreeMap::new());
    let placed = first.borrow_and_update().clone().expect("known");
    assert!(Arc::ptr_eq(&placed.configuration, &other));
}
