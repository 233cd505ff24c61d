//! Printing what happens and how far it is.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How many tasks are under way inside one another; decides the indentation.
static DEPTH: AtomicUsize = AtomicUsize::new(0);

/// A task of several steps.
#[derive(Debug)]
pub(crate) struct Steps {
    name: &'static str,
    total: usize,
    current: usize,
    started: Instant,
    depth: usize,
}

impl Steps {
    pub(crate) fn new(name: &'static str, total: usize) -> Self {
        let depth = DEPTH.fetch_add(1, Ordering::Relaxed);
        Self { name, total, current: 0, started: Instant::now(), depth }
    }

    /// Announces the next step.
    pub(crate) fn next(&mut self, what: &str) {
        self.current += 1;
        let Self { name, total, current, .. } = self;
        let elapsed = self.started.elapsed().as_secs_f32();
        println!("{}{name} [{current}/{total} {elapsed:6.1}s] {what}", indentation(self.depth));
    }

    /// Announces the end.
    pub(crate) fn done(&self, what: &str) {
        let elapsed = self.started.elapsed().as_secs_f32();
        println!("{}{} [done {elapsed:6.1}s] {what}", indentation(self.depth), self.name);
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        DEPTH.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A line of detail below the present step.
pub(crate) fn detail(what: &str) {
    println!("{}{what}", indentation(DEPTH.load(Ordering::Relaxed)));
}

fn indentation(depth: usize) -> String {
    "  ".repeat(depth)
}

/// Reports every few seconds that a long step is still going on.
#[derive(Debug)]
pub(crate) struct Ticker {
    stop: Arc<AtomicBool>,
    text: Arc<Mutex<String>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Ticker {
    const INTERVAL: Duration = Duration::from_secs(15);

    pub(crate) fn start(text: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let text = Arc::new(Mutex::new(text.to_owned()));
        let (stopped, shown) = (Arc::clone(&stop), Arc::clone(&text));
        let thread = thread::spawn(move || {
            let started = Instant::now();
            let mut next = Self::INTERVAL;
            while !stopped.load(Ordering::Relaxed) {
                thread::park_timeout(Duration::from_secs(1));
                if started.elapsed() >= next && !stopped.load(Ordering::Relaxed) {
                    next += Self::INTERVAL;
                    let text = shown.lock().map(|text| text.clone()).unwrap_or_default();
                    detail(&format!("… {text} ({} s)", started.elapsed().as_secs()));
                }
            }
        });
        Self { stop, text, thread: Some(thread) }
    }

    /// Replaces what the next report says.
    pub(crate) fn say(&self, text: String) {
        if let Ok(mut current) = self.text.lock() {
            *current = text;
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic in the reporting thread changes nothing for the step itself.
            let _ = thread.join();
        }
    }
}
