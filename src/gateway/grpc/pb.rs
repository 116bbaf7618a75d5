//! The messages and the service of `proto/llmpool/v1/llmpool.proto`, as they were generated from it.
//!
//! `UPDATE_DOCS=1 cargo test grpc::pb` writes them; the same test fails when they are stale.

#![allow(clippy::all, unused_qualifications, reason = "generated")]

include!("pb/llmpool.v1.rs");

/// The same as a descriptor, comments included: what reflection tells.
pub(super) const DESCRIPTOR: &[u8] = include_bytes!("pb/llmpool.v1.bin");

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use prost::Message;
    use protox::Compiler;

    #[test]
    fn the_generated_code_is_fresh() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut compiler = Compiler::new([root.join("proto")]).expect("a folder");
        compiler.include_source_info(true).open_file("llmpool/v1/llmpool.proto").expect("a valid file");
        let set = compiler.file_descriptor_set();
        let descriptor = set.encode_to_vec();

        let out = std::env::temp_dir().join(format!("llmpool-pb-{}", std::process::id()));
        fs::create_dir_all(&out).expect("a folder");
        tonic_prost_build::configure()
            .build_transport(false)
            .btree_map(".")
            // Clients are for those who call; here only tests do.
            .client_mod_attribute(".", "#[cfg(test)]")
            .out_dir(&out)
            .compile_fds(set)
            .expect("code");
        let code = fs::read(out.join("llmpool.v1.rs")).expect("code");
        fs::remove_dir_all(&out).expect("its folder");

        let folder = root.join("src/gateway/grpc/pb");
        for (name, fresh) in [("llmpool.v1.rs", code), ("llmpool.v1.bin", descriptor)] {
            let path = folder.join(name);
            if std::env::var_os("UPDATE_DOCS").is_some() {
                fs::write(&path, fresh).expect("a writable file");
            } else {
                let written = fs::read(&path).expect("a generated file");
                assert!(written == fresh, "{name} is stale; UPDATE_DOCS=1 cargo test grpc::pb writes it");
            }
        }
    }
}
