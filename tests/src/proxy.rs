//! A TCP proxy whose connections can be cut and slowed.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Passes on what comes, both ways.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: String,
    open: Mutex<Vec<TcpStream>>,
    delay_micros: AtomicU64,
    refuses: AtomicBool,
}

impl Proxy {
    /// A proxy in front of an address, such as `127.0.0.1:5432`.
    ///
    /// # Panics
    /// When there is no free port.
    pub fn before(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            open: Mutex::default(),
            delay_micros: AtomicU64::new(0),
            refuses: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                accepting.take(client);
            }
        });
        Self { address, shared }
    }

    /// Cuts every connection that is open.
    ///
    /// # Panics
    /// When a thread of it has panicked.
    pub fn cut(&self) {
        for stream in self.shared.open.lock().expect("the lock").drain(..) {
            // it may be closed already
            let _closed = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets no new connection through, or lets them through again.
    pub fn refuse(&self, refuses: bool) {
        self.shared.refuses.store(refuses, Ordering::SeqCst);
    }

    /// Holds back each piece for so long.
    ///
    /// # Panics
    /// When it is longer than can be counted in microseconds.
    pub fn delay(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).expect("a short time");
        self.shared.delay_micros.store(micros, Ordering::SeqCst);
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn take(self: &Arc<Self>, client: TcpStream) {
        if self.refuses.load(Ordering::SeqCst) {
            return;
        }
        let Ok(server) = TcpStream::connect(&self.target) else {
            return;
        };
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else {
                return;
            };
            let shared = Arc::clone(self);
            std::thread::spawn(move || shared.pass(from, to));
        }
        self.open.lock().expect("the lock").extend([client, server]);
    }

    #[expect(clippy::disallowed_methods, reason = "a slow network is what is made here")]
    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let _no_delay = to.set_nodelay(true);
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            let delay = self.delay_micros.load(Ordering::SeqCst);
            if delay > 0 {
                std::thread::sleep(Duration::from_micros(delay));
            }
            if to.write_all(bytes.get(..read).unwrap_or_default()).is_err() {
                break;
            }
        }
        let _closed = to.shutdown(Shutdown::Both);
    }
}
