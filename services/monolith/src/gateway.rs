//! What all routes share.

use std::sync::{Arc, PoisonError, RwLock};

use service_kit::client::ClientError;
use service_kit::configuration::Configuration;
use service_kit::database::Database;
use service_kit::queue::Dispatch;
use tokio::sync::watch;

use crate::configuration::{GatewaySettings, Settings};
use crate::counters::Counters;
use crate::documentation::Joined;
use crate::keys::Keys;
use crate::proxy::Proxy;
use crate::rate::Limiter;
use crate::requests::Requests;
use crate::services::Services;

/// What a change of the configuration replaces.
#[derive(Debug)]
pub struct Live {
    /// The services behind the gateway.
    pub services: Services,
    /// How the gateway behaves.
    pub settings: GatewaySettings,
}

impl Live {
    /// What a configuration says.
    ///
    /// # Errors
    /// If an HTTP client cannot be made.
    pub fn new(settings: &Settings) -> Result<Self, ClientError> {
        Ok(Self { services: Services::new(&settings.services)?, settings: settings.gateway.clone() })
    }
}

/// The gateway.
#[derive(Debug)]
pub struct Gateway {
    live: RwLock<Arc<Live>>,
    /// Where keys and requests are kept.
    pub database: Database,
    /// Who may call.
    pub keys: Keys,
    /// How often.
    pub limiter: Limiter,
    /// The way to the services.
    pub proxy: Proxy,
    /// Requests over several services.
    pub requests: Requests,
    /// The document that describes all APIs.
    pub joined: Joined,
    /// What is counted.
    pub counters: Counters,
    /// Becomes true when the process is told to stop.
    pub stopping: watch::Receiver<bool>,
}

impl Gateway {
    /// A gateway as configured. To be made within a runtime.
    #[must_use]
    pub fn new(
        live: Live,
        database: Database,
        dispatch: &Dispatch,
        keys: Keys,
        counters: Counters,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self {
            live: RwLock::new(Arc::new(live)),
            keys,
            limiter: Limiter::default(),
            proxy: Proxy::new(counters.clone()),
            requests: Requests::new(&database, dispatch),
            joined: Joined::default(),
            counters,
            stopping,
            database,
        }
    }

    /// The configuration in force.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts each change of the configuration in force.
    pub async fn follow(&self, mut configuration: Configuration<Settings>) {
        while let Some(settings) = configuration.changed().await {
            match Live::new(&settings) {
                Ok(live) => *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live),
                Err(error) => tracing::error!(
                    error = %service_kit::problem::chain(&error),
                    "The changed configuration cannot be used. The one before stays in force."
                ),
            }
        }
    }
}
