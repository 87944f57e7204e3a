// SPDX-License-Identifier: Apache-2.0
//! AWS-LC, in a process of its own. If the generation changes between the beginning and the end of one of its draws, it calls
//! abort(): a restore may end this process, no restore may end the program. As whoever watches over a service would, `Process` starts
//! another one then, and says so.
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use crate::{generation, LEN};

/// The argument with which the program is this process.
pub const ARGUMENT: &str = "--aws-lc-rs";
const SIGABRT: i32 = 6;

/// A value for each byte that comes, until there are no more.
pub fn serve() -> io::Result<()> {
    let aws = SystemRandom::new();
    let (mut asked, mut value) = ([0; 1], [0; LEN]);

    while io::stdin().read(&mut asked)? == 1 {
        aws.fill(&mut value).expect("AWS-LC gives random bytes");
        io::stdout().write_all(&value)?;
        io::stdout().flush()?;
    }
    Ok(())
}

pub struct Process {
    program: String,
    counter: File,
    generation: u64, // of before the child started
    child: Child,
    asks: ChildStdin,
    answers: ChildStdout,
}

impl Process {
    pub fn start(program: &str, counter: File) -> Self {
        let generation = generation(&counter);
        let mut child = Command::new(program)
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be started once more");
        let asks = child.stdin.take().expect("a pipe to it");
        let answers = child.stdout.take().expect("a pipe from it");

        Process { program: program.to_string(), counter, generation, child, asks, answers }
    }

    pub fn fill(&mut self, value: &mut [u8; LEN]) {
        while self.ask(value).is_err() {
            self.start_again();
        }
    }

    fn ask(&mut self, value: &mut [u8; LEN]) -> io::Result<()> {
        self.asks.write_all(&[1])?;
        self.answers.read_exact(value)
    }

    /// Only for what a restore does; all else is a failure.
    fn start_again(&mut self) {
        let status = self.child.wait().expect("a child to wait for");

        assert_eq!(status.signal(), Some(SIGABRT), "AWS-LC's process: {status}");
        assert_ne!(generation(&self.counter), self.generation, "AWS-LC has called abort() and there was no restore");
        println!("ended aws-lc-rs");
        *self = Process::start(&self.program, self.counter.try_clone().expect("another descriptor"));
    }
}
