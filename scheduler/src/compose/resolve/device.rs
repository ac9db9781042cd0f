//! Devices: files of the host, names of vendors (CDI), and requests such as `gpus: all`, which
//! become names.
//!
//! | request | device |
//! |---|---|
//! | `gpus: all` | `nvidia.com/gpu=all` |
//! | `{driver: nvidia, count: 2}` | `nvidia.com/gpu=0`, `nvidia.com/gpu=1` |
//! | `{driver: nvidia, device_ids: [GPU-1]}` | `nvidia.com/gpu=GPU-1` |
//! | `{driver: cdi, device_ids: [vendor.com/class=name]}` | `vendor.com/class=name` |

use super::{Resolver, at, text, texts};
use crate::compose::document::Node;
use crate::compose::short::device::is_vendor_name;
use crate::model::container::Device;

/// What a GPU is called when nobody says whose it is.
const GPU: &str = "nvidia.com/gpu";

/// More than any host has; each becomes a name.
const MAX_COUNT: i64 = 64;

pub(super) fn devices(service: &Node) -> Vec<Device> {
    let items = service.get("devices").map(Node::items).unwrap_or_default();
    let files = items.iter().filter(|it| !is_vendor(it));
    let device = |it: &Node| {
        Some(Device {
            source: text(it, "source")?,
            target: text(it, "target")?,
            permissions: text(it, "permissions")?,
        })
    };
    files.filter_map(device).collect()
}

fn is_vendor(item: &Node) -> bool {
    item.get_str("source").is_some_and(is_vendor_name)
}

impl Resolver<'_> {
    pub(super) fn vendor_devices(&mut self, service: &Node) -> Vec<String> {
        let items = service.get("devices").map(Node::items).unwrap_or_default();
        let named = items.iter().filter(|it| is_vendor(it));
        let mut names: Vec<String> = named.filter_map(|it| text(it, "source")).collect();
        for item in service.get("gpus").map(Node::items).unwrap_or_default() {
            names.extend(self.request(item, Wanted::Gpu));
        }
        let reserved = at(service, "deploy.resources.reservations.devices");
        for item in reserved.map(Node::items).unwrap_or_default() {
            let capabilities = texts(item, "capabilities");
            let gpu = capabilities.iter().any(|it| it == "gpu" || it == "nvidia");
            let wanted = if gpu { Wanted::Gpu } else { Wanted::Other };
            names.extend(self.request(item, wanted));
        }
        names
    }

    fn request(&mut self, item: &Node, wanted: Wanted) -> Vec<String> {
        let driver = item.get_str("driver").filter(|it| !it.is_empty());
        let ids = texts(item, "device_ids");
        match (driver, wanted) {
            (Some("cdi"), _) => return ids,
            (Some("nvidia"), _) | (None, Wanted::Gpu) => {}
            (Some(_), _) | (None, Wanted::Other) => {
                let title = match driver {
                    Some(driver) => format!("devices of the driver `{driver}` cannot be asked for"),
                    None => "devices can be asked for by the capability `gpu` only".to_owned(),
                };
                let help = "name them: `driver: cdi` with `device_ids: [VENDOR/CLASS=NAME]`";
                self.problems.unsupported(item.span, title).set_help(help);
                return Vec::new();
            }
        }
        if !ids.is_empty() {
            return ids.iter().map(|id| format!("{GPU}={id}")).collect();
        }
        match item.get_int("count") {
            None | Some(..0) => vec![format!("{GPU}=all")],
            Some(count) => {
                let numbers = 0..count.min(MAX_COUNT);
                numbers.map(|number| format!("{GPU}={number}")).collect()
            }
        }
    }
}

/// What a request without a driver is about.
#[derive(Clone, Copy)]
enum Wanted {
    Gpu,
    Other,
}
