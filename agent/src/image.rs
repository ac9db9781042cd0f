//! Images: references, registries, and a content store of verified blobs and unpacked layers.
