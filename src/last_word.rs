//! Connections on which a write's failure is no end: whoever refuses what it is sent says why, and closes; what it has said is there
//! to be read still. A link of ureq's chain, right behind the one that connects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ureq::Agent;
use ureq::config::Config;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, NextTimeout, RustlsConnector,
    TcpConnector, Transport,
};

/// Makes such connections. Notes that the other side has hung up before the end.
#[derive(Clone, Debug, Default)]
pub struct LastWord {
    /// Whether it has.
    pub has_hung_up: Arc<AtomicBool>,
}

impl LastWord {
    /// An agent that connects as ureq's own do, but for this, between TCP and TLS.
    pub fn agent(&self, config: Config) -> Agent {
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(self.clone())
                .chain(RustlsConnector::default());
        Agent::with_parts(config, connector, DefaultResolver::default())
    }
}

/// Such a connection.
#[derive(Debug)]
pub struct Heard<T> {
    inner: T,
    has_hung_up: Arc<AtomicBool>,
}

impl<T: Transport> Connector<T> for LastWord {
    type Out = Heard<T>;

    fn connect(
        &self,
        _: &ConnectionDetails,
        inner: Option<T>,
    ) -> Result<Option<Heard<T>>, ureq::Error> {
        let has_hung_up = self.has_hung_up.clone();
        Ok(inner.map(|inner| Heard { inner, has_hung_up }))
    }
}

impl<T: Transport> Transport for Heard<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, by: NextTimeout) -> Result<(), ureq::Error> {
        match self.inner.transmit_output(amount, by) {
            Err(ureq::Error::Io(_)) => {
                self.has_hung_up.store(true, Ordering::Relaxed);
                Ok(())
            }
            sent => sent,
        }
    }

    fn await_input(&mut self, by: NextTimeout) -> Result<bool, ureq::Error> {
        self.inner.await_input(by)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}
