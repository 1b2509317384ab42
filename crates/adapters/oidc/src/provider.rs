//! The provider: where its keys are, and what they are.

use arbiter_net::{HttpClient, HttpPorts, HttpUrl, Request};

use crate::config::{InvalidConfig, OidcConfig};
use crate::error::ProviderError;
use crate::jwk::KeySet;
use crate::object::Object;

/// Fetches the keys of a provider.
pub(crate) struct Provider {
    client: HttpClient,
    config: OidcConfig,
    /// The discovery document, or the keys themselves.
    asked: Asked,
}

enum Asked {
    Discovery(HttpUrl),
    Keys(HttpUrl),
}

impl Provider {
    /// A provider that nothing was asked of yet.
    ///
    /// # Errors
    /// See [`InvalidConfig`].
    pub(crate) fn new(config: &OidcConfig, ports: HttpPorts) -> Result<Self, InvalidConfig> {
        config.check()?;
        let asked = if let Some(url) = &config.jwks_url {
            Asked::Keys(url.parse().map_err(|_| InvalidConfig::Keys)?)
        } else {
            // OpenID Connect Discovery 1.0 §4: a slash at the end is taken away first.
            let issuer = config.issuer.strip_suffix('/').unwrap_or(&config.issuer);
            let url = format!("{issuer}/.well-known/openid-configuration");
            Asked::Discovery(url.parse().map_err(|_| InvalidConfig::Issuer)?)
        };
        Ok(Self {
            client: HttpClient::new(&config.http(), ports).map_err(InvalidConfig::Client)?,
            config: config.clone(),
            asked,
        })
    }

    /// The keys as they are now.
    ///
    /// # Errors
    /// See [`ProviderError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn keys(&self) -> Result<KeySet, ProviderError> {
        let url = match &self.asked {
            Asked::Keys(url) => url.clone(),
            Asked::Discovery(url) => self.discovered(url.clone()).await?,
        };
        KeySet::read(&self.document("the set of keys", url).await?)
    }

    /// Where the provider says that its keys are.
    async fn discovered(&self, url: HttpUrl) -> Result<HttpUrl, ProviderError> {
        let what = "the discovery document";
        let document = self.document(what, url).await?;
        let document = Object::read(&document).map_err(|source| ProviderError::Content { what, source })?;
        let missing = |member| ProviderError::Missing { what, member };
        let issuer = document.text("issuer").ok_or_else(|| missing("issuer"))?;
        // Exactly (OpenID Connect Discovery 1.0 §4.3): else one provider could speak for another.
        if issuer != self.config.issuer {
            return Err(ProviderError::Issuer {
                told: issuer.escape_default().take(100).collect(),
            });
        }
        let keys = document.text("jwks_uri").and_then(|text| text.parse().ok());
        let keys = keys.ok_or_else(|| missing("jwks_uri"))?;
        if !self.config.is_secure(&keys) {
            return Err(ProviderError::Insecure);
        }
        Ok(keys)
    }

    async fn document(&self, what: &'static str, url: HttpUrl) -> Result<Vec<u8>, ProviderError> {
        let failed = |source| ProviderError::Net { what, source };
        let request = Request::get(url)
            .once()
            .operation("oidc.keys")
            .header("accept", "application/json")
            .map_err(failed)?;
        let answer = self.client.send(request).await.map_err(failed)?;
        if answer.status.as_u16() != 200 {
            return Err(ProviderError::Status {
                what,
                status: answer.status.as_u16(),
            });
        }
        Ok(answer.body.to_vec())
    }
}
