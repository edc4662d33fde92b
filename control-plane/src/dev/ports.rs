//! The ports of development mode: all looked at before anything is started. It must not know what runs on them.

use std::{io::ErrorKind, net::TcpListener};

use super::fault::DevFault;

/// One port and how a person chooses another.
#[derive(Debug, Clone, Copy)]
pub struct Port {
    /// The number.
    pub number: u16,
    /// What it is for.
    pub what: &'static str,
    /// The option that sets it.
    pub option: &'static str,
}

/// Fails on the first port that cannot be listened on now, or that is asked for twice.
///
/// # Errors
/// [`DevFault::PortTaken`] or [`DevFault::Port`].
pub fn check(ports: &[Port]) -> Result<(), DevFault> {
    for (at, port) in ports.iter().enumerate() {
        if let Some(other) = ports.iter().take(at).find(|other| other.number == port.number) {
            let (number, option) = (port.number, port.option);
            return Err(DevFault::Other(format!("port {number} is asked for twice: {} and {option}", other.option)));
        }
        drop(listen(*port)?);
    }
    Ok(())
}

/// Listens on a port of the loopback address.
///
/// # Errors
/// [`DevFault::PortTaken`] or [`DevFault::Port`].
pub fn listen(port: Port) -> Result<TcpListener, DevFault> {
    let Port { number, what, option } = port;
    let listener = TcpListener::bind(("127.0.0.1", number)).map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => DevFault::PortTaken { port: number, what, option },
        _ => DevFault::Port { port: number, what, source },
    })?;
    listener.set_nonblocking(true).map_err(|source| DevFault::Port { port: number, what, source })?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_option() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = taken.local_addr().unwrap().port();
        let port = Port { number, what: "Envoy", option: "--envoy-port" };
        let expected = format!("port {number} (Envoy) is taken; use --envoy-port or stop the other program");
        assert_eq!(check(&[port]).unwrap_err().to_string(), expected);
        drop(taken);
        check(&[port]).unwrap();
        let twice = check(&[port, Port { option: "--api-port", ..port }]).unwrap_err().to_string();
        assert!(twice.contains("--envoy-port and --api-port"), "{twice}");
    }
}
