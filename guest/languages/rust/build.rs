// SPDX-License-Identifier: Apache-2.0
//! Links libsnapsafe: Debian's, or that in `SNAPSAFE_LIB_DIR`. With `SNAPSAFE_STATIC=1`, or the feature crt-static, its archive, and
//! that of libsodium, which it needs.
use std::env;

fn main() {
    for name in ["SNAPSAFE_LIB_DIR", "SNAPSAFE_STATIC"] {
        println!("cargo:rerun-if-env-changed={}", name);
    }
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let wanted = env::var("SNAPSAFE_STATIC").map_or(false, |value| value != "0");

    if let Ok(directory) = env::var("SNAPSAFE_LIB_DIR") {
        println!("cargo:rustc-link-search=native={}", directory);
    }
    if wanted || features.split(',').any(|feature| feature == "crt-static") {
        // Where Debian has the archive of libsodium; rustc looks for archives itself.
        println!("cargo:rustc-link-search=native=/usr/lib/x86_64-linux-gnu");
        println!("cargo:rustc-link-lib=static=snapsafe");
        println!("cargo:rustc-link-lib=static=sodium");
    } else {
        println!("cargo:rustc-link-lib=dylib=snapsafe");
    }
}
