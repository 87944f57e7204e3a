// SPDX-License-Identifier: Apache-2.0
//! Programs that notice when their virtual machine was restored, and random numbers that no clone shares: libsnapsafe
//! (`snapsafe.h` has the reference) for Rust.
//!
//! What `rand::rng()` gives continues a sequence that was seeded once for each thread: it is the same in every clone. [`Rng`] is
//! a generator without a state, for secrets; [`Reseeding`] makes any seedable generator one that starts anew after a restore.
//!
//! ```
//! use rand_core::TryRngCore;
//!
//! let mut key = [0u8; 32];
//! snapsafe::Rng.try_fill_bytes(&mut key).expect("the kernel gives random bytes");
//! ```
#![no_std]
#![deny(missing_docs)]

use core::ffi::c_void;
use core::fmt;
use core::ptr::null_mut;

use rand_core::{CryptoRng, RngCore, SeedableRng, TryCryptoRng, TryRngCore};

mod sys {
    use core::ffi::c_void;

    #[repr(C)]
    #[derive(Clone, Copy, Debug)]
    pub struct Token {
        pub generation: u64,
        pub process: u64,
        pub handle: u32,
        pub state: u32,
    }

    extern "C" {
        pub fn snapsafe_generation(s: *mut c_void) -> u64;
        pub fn snapsafe_identity(s: *mut c_void, id: *mut u8) -> i32;
        pub fn snapsafe_random(s: *mut c_void, buf: *mut c_void, len: usize) -> i32;
        pub fn snapsafe_token(s: *mut c_void) -> Token;
        pub fn snapsafe_holds(s: *mut c_void, token: *const Token) -> i32;
        pub fn snapsafe_check(s: *mut c_void, token: *const Token) -> i32;
    }
}

/// The process's default handle: all functions take it, from any thread.
fn default_handle() -> *mut c_void {
    null_mut()
}

/// The kernel gave no random bytes: `errno`, as getrandom(2) sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(pub i32);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no random bytes: errno {}", self.0)
    }
}

impl core::error::Error for Error {}

/// Random bytes for keys and nonces, of the generation that is current when the function returns. On errors `bytes` is all zeros.
pub fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    // SAFETY: that many bytes are ours to write.
    let status = unsafe { sys::snapsafe_random(default_handle(), bytes.as_mut_ptr().cast(), bytes.len()) };

    if status == 0 {
        Ok(())
    } else {
        Err(Error(-status))
    }
}

/// The number of this machine's generation. Compare for equality only; 0 where there is no counter.
pub fn generation() -> u64 {
    // SAFETY: no preconditions.
    unsafe { sys::snapsafe_generation(default_handle()) }
}

/// 16 bytes that no other machine has, where there are any. Public: no secret, no key.
pub fn identity() -> Option<[u8; 16]> {
    let mut id = [0; 16];

    // SAFETY: SNAPSAFE_IDENTITY_LEN is 16.
    match unsafe { sys::snapsafe_identity(default_handle(), id.as_mut_ptr()) } {
        0 => Some(id),
        _ => None,
    }
}

/// A moment in the life of this process. Take one before making something that must be unique; ask [`Token::holds`] as the last
/// thing before the result leaves the process, and throw the result away if it does not.
#[derive(Clone, Copy, Debug)]
pub struct Token(sys::Token);

impl Token {
    /// This moment.
    pub fn now() -> Self {
        // SAFETY: no preconditions.
        Token(unsafe { sys::snapsafe_token(default_handle()) })
    }

    /// False if there was a restore or a fork since. Where nobody watches a counter only forks are noticed.
    pub fn holds(&self) -> bool {
        // SAFETY: the token outlives the call.
        unsafe { sys::snapsafe_holds(default_handle(), &self.0) == 1 }
    }

    /// As [`Token::holds`], but `None` where nobody can know whether there was a restore.
    pub fn check(&self) -> Option<bool> {
        // SAFETY: the token outlives the call.
        match unsafe { sys::snapsafe_check(default_handle(), &self.0) } {
            1 => Some(true),
            0 => Some(false),
            _ => None,
        }
    }
}

/// A generator without a state of its own: [`fill`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Rng;

impl TryRngCore for Rng {
    type Error = Error;

    fn try_next_u32(&mut self) -> Result<u32, Error> {
        let mut bytes = [0; 4];

        fill(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Error> {
        let mut bytes = [0; 8];

        fill(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        fill(bytes)
    }
}

impl TryCryptoRng for Rng {}

/// A generator that is seeded again, by [`Rng`], as soon as the machine or the process is another one. What was drawn while that
/// happened is thrown away.
#[derive(Debug)]
pub struct Reseeding<R> {
    generator: R,
    token: Token, // of before the seed
}

impl<R: SeedableRng> Reseeding<R> {
    /// A generator with a seed of its own.
    pub fn new() -> Result<Self, Error> {
        let token = Token::now();

        Ok(Reseeding { generator: R::try_from_rng(&mut Rng)?, token })
    }

    fn draw<T>(&mut self, mut function: impl FnMut(&mut R) -> T) -> T {
        loop {
            if !self.token.holds() {
                *self = Self::new().expect("there were random bytes before, and are none now");
            }
            let value = function(&mut self.generator);

            if self.token.holds() {
                return value;
            }
        }
    }
}

/// Panics if the kernel has no bytes for a new seed.
impl<R: SeedableRng + RngCore> RngCore for Reseeding<R> {
    fn next_u32(&mut self) -> u32 {
        self.draw(R::next_u32)
    }

    fn next_u64(&mut self) -> u64 {
        self.draw(R::next_u64)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.draw(|generator| generator.fill_bytes(bytes))
    }
}

impl<R: SeedableRng + CryptoRng> CryptoRng for Reseeding<R> {}
