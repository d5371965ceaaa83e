//! Compiles `proto/` with `protox`, a protobuf compiler written in Rust, so that no `protoc` is needed.

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(
        ["records", "privacy", "access", "audit", "admin"].map(|name| format!("oubliette/v1/{name}.proto")),
        ["proto"],
    )?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("oubliette.bin"), descriptors.encode_to_vec())?;
    // Messages carry what customers said: they get no `Debug`, so that none is ever printed. Chunks are `Bytes`: not copied.
    tonic_prost_build::configure().skip_debug(["."]).bytes(".oubliette.v1").compile_fds(descriptors)?;
    Ok(())
}
