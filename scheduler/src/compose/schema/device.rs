//! Devices: files given to a container, devices asked for by what they can do, limits on disks.

use super::{Attribute, COUNT, Form, LABELS, Shape, TEXT_SET, Union, done, ignored};
use crate::compose::short::{self, device};

pub(super) static DEVICES: Shape = Shape::List {
    item: &Shape::Form(Form {
        short: device::device,
        long: &Shape::Object(&[
            done("source", &Shape::Text),
            done("target", &Shape::Text),
            done("permissions", &Shape::Text),
        ]),
    }),
    union: Union::By(short::target),
};

/// `gpus`, and `devices` of `deploy.resources.reservations`.
pub(super) static REQUESTS: Shape = Shape::Form(Form {
    short: device::all,
    long: &Shape::List {
        item: &REQUEST,
        union: Union::Append,
    },
});

static REQUEST: Shape = Shape::Form(Form {
    short: device::every,
    long: &Shape::Object(&[
        done("capabilities", &TEXT_SET),
        done("driver", &Shape::Text),
        done(
            "count",
            &Shape::Form(Form {
                short: device::count,
                long: &Shape::Int { min: Some(-1) },
            }),
        ),
        done("device_ids", &TEXT_SET),
        ignored("options", &LABELS, "no driver reads them"),
    ]),
});

pub(super) static BLKIO: &[Attribute] = &[
    done("weight", &COUNT),
    done(
        "weight_device",
        &Shape::List {
            item: &Shape::Object(&[done("path", &Shape::Text), done("weight", &COUNT)]),
            union: Union::By(short::path),
        },
    ),
    done("device_read_bps", &THROTTLES),
    done("device_read_iops", &THROTTLES),
    done("device_write_bps", &THROTTLES),
    done("device_write_iops", &THROTTLES),
];

static THROTTLES: Shape = Shape::List {
    item: &Shape::Object(&[done("path", &Shape::Text), done("rate", &Shape::Size)]),
    union: Union::By(short::path),
};
