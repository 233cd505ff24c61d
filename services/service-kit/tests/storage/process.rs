//! A server that the tests run beside themselves.

use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::{JoinHandle, spawn};

/// A running server; told to end when dropped.
#[derive(Debug)]
pub struct Process {
    id: u32,
    signal: &'static str,
    /// Closed to end the thread.
    life: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Process {
    /// The kernel ends the server when the thread that started it ends, so that
    /// none stays behind if the tests are killed. That thread must not be the
    /// one of a test.
    pub fn start(mut command: Command) -> Self {
        let (started, starting) = channel();
        let (life, end) = channel::<()>();
        let keeper = spawn(move || {
            let mut child = command.spawn().expect("start the server");
            started.send(child.id()).expect("tell the id");
            // Until the other end is dropped.
            let _ = end.recv();
            child.wait().expect("wait for the server");
        });
        let id = starting.recv().expect("the server is started");
        Self { id, signal: "-INT", life: Some(life), keeper: Some(keeper) }
    }

    /// Ends it at once, as a loss of power would.
    pub fn kill(mut self) {
        self.signal = "-KILL";
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = Command::new("sh").arg("-c").arg(format!("kill {} {}", self.signal, self.id)).status();
        self.life = None;
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("port").local_addr().expect("address").port()
}
