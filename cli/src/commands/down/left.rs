//! What is left of a stack that should be gone, in words.

use scheduler::status::StackStatus;

/// `container shop-web-1 is running, network shop_default is left; the node says: …`
pub(super) fn told(stack: &StackStatus) -> String {
    let services = stack.services.iter();
    let containers = services.flat_map(|it| &it.containers).map(|it| {
        let state = match it.state.is_terminal() {
            true => "has ended",
            false => "has not ended",
        };
        format!("container {} {state}", it.name)
    });
    let networks = stack.networks.iter().map(|it| &it.name);
    let networks = networks.chain(&stack.leaving_networks);
    let networks = networks.map(|it| format!("network {it} is there"));
    let volumes = stack.volumes.iter().filter(|it| it.removing);
    let volumes = volumes.map(|it| format!("volume {} is there", it.name));
    let left: Vec<_> = containers.chain(networks).chain(volumes).collect();
    let left = match left.is_empty() {
        true => "nothing that the node knows of is left".to_owned(),
        false => left.join(", "),
    };
    match stack.troubles.is_empty() {
        true => left,
        false => format!("{left}; the node says: {}", stack.troubles.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use scheduler::status::ResourceStatus;

    use super::*;
    use crate::progress::tests::stack;

    #[test]
    fn names_all_that_is_left_and_what_the_node_says_about_it() {
        let mut picture = stack("web:running db:complete");
        picture.leaving_networks = vec!["shop_back".to_owned()];
        picture.volumes = vec![ResourceStatus {
            name: "shop_data".to_owned(),
            removing: true,
        }];
        picture.troubles = vec!["volume shop_data: device or resource busy".to_owned()];
        let names = |text: &str| text.split(", ").count();
        let told = told(&picture);
        assert!(told.contains("has not ended, "), "{told}");
        assert!(told.contains("network shop_back is there"), "{told}");
        assert!(
            told.ends_with(
                "volume shop_data is there; the node says: volume shop_data: device or resource busy"
            ),
            "{told}"
        );
        assert!(names(&told) >= 4, "{told}");
    }

    #[test]
    fn says_so_when_nothing_is_known_to_be_left() {
        assert_eq!(
            told(&StackStatus::default()),
            "nothing that the node knows of is left"
        );
    }
}
