//! Which ports are opened, and what is said when one cannot be.

use anyhow::{Context, Result, bail};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpListener;

/// The port when none is named.
const PORT_DEFAULT: u16 = 9090;
/// How many ports after it are tried.
const PORTS_TRIED_MAX: u16 = 50;

/// The main listeners. A port that was named and is busy is an error; the unstated default moves on
/// to the next free port with a notice.
pub async fn main(named: &[String], behind_proxy: bool) -> Result<Vec<TcpListener>> {
    if named.is_empty() {
        return Ok(vec![first_free().await?]);
    }
    let mut listeners = Vec::new();
    for text in named {
        let address = crate::cli::parse_address(text)?;
        refuse_open_doors(address, behind_proxy)?;
        match vigie_http::bind(address).await {
            Ok(listener) => listeners.push(listener),
            Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(
                "cannot listen on {address}: another program uses the port; end it, or name another address with --web.listen-address"
            ),
            Err(error) => return Err(error).context(format!("cannot listen on {address}")),
        }
    }
    Ok(listeners)
}

async fn first_free() -> Result<TcpListener> {
    for port in PORT_DEFAULT..PORT_DEFAULT + PORTS_TRIED_MAX {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match vigie_http::bind(address).await {
            Ok(listener) => {
                if port != PORT_DEFAULT {
                    tracing::warn!(
                        "port {PORT_DEFAULT} is taken, listening on {port}; name one with --web.listen-address"
                    );
                }
                return Ok(listener);
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => return Err(error).with_context(|| format!("cannot listen on {address}")),
        }
    }
    bail!(
        "ports {PORT_DEFAULT} to {} are all taken: name a free one with --web.listen-address",
        PORT_DEFAULT + PORTS_TRIED_MAX - 1
    )
}

/// Nobody gets in who should not: without TLS and sign-in, only loopback.
fn refuse_open_doors(address: SocketAddr, behind_proxy: bool) -> Result<()> {
    if address.ip().is_loopback() || behind_proxy {
        return Ok(());
    }
    bail!(
        "{address} can be reached from other machines, and TLS and sign-in are not built yet: \
         listen on 127.0.0.1:{} behind a proxy that does both, or add --web.behind-proxy if one already stands in front",
        address.port()
    )
}

/// A classic port on loopback; busy is a warning.
pub async fn classic(port: u16, what: &str) -> Option<TcpListener> {
    match vigie_http::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::warn!(
                "port {port} ({what}) is not opened: {error}; web.classic_ports: false turns the classic ports off"
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_open_without_sign_in() {
        for (address, behind_proxy, allowed) in [
            ("127.0.0.1:1", false, true),
            ("[::1]:1", false, true),
            ("0.0.0.0:1", false, false),
            ("192.0.2.1:1", true, true),
        ] {
            assert_eq!(
                refuse_open_doors(address.parse().unwrap(), behind_proxy).is_ok(),
                allowed,
                "{address}"
            );
        }
    }
}
