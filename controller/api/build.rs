//! Rust for the gRPC contract, out of `proto/`. protox reads it, so that nobody needs `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["weir/v1/discovery.proto"], ["proto"])?;
    tonic_prost_build::configure()
        // They hold keys: Debug is written by hand, in src/proto.rs.
        .skip_debug(["weir.v1.Credential", "weir.v1.Leaf"])
        .compile_fds(files)?;
    Ok(())
}
