//! The kernel programs: they capture the connections of one cgroup.
//!
//! `connect` redirects a dial to the listener and remembers where it was going, `origin` hands that over to the agent by
//! the connection's source, `peer` hides the redirect from the app, `quic` refuses HTTP/3 so that clients use TCP.
//!
//! On any other target this is an empty program, so that the workspace builds without a BPF toolchain.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    allow(
        unsafe_code,
        reason = "every map access and every read of a context is a call into the kernel"
    )
)]

#[cfg(target_arch = "bpf")]
mod connect;
#[cfg(target_arch = "bpf")]
mod dial;
#[cfg(target_arch = "bpf")]
mod listener;
#[cfg(target_arch = "bpf")]
mod origin;
#[cfg(target_arch = "bpf")]
mod peer;
#[cfg(target_arch = "bpf")]
mod quic;
#[cfg(target_arch = "bpf")]
mod settings;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// No helper that the programs call is reserved for GPL programs.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 11] = *b"Apache-2.0\0";

#[cfg(not(target_arch = "bpf"))]
fn main() {}
