//! Why a command failed, as the terminal shows it and as the exit code says it. It must not know a command.

use std::process::ExitCode;

use crate::{
    config::ConfigFault,
    service::{ServiceError, policies::PoliciesFault, sign_in::SignInFault},
    store::StoreError,
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliFault {
    /// Anything that has no code of its own.
    #[error("{0}")]
    Failed(String),
    /// Arguments that make no sense together.
    #[error("{0}")]
    Usage(String),
    /// The settings cannot be used.
    #[error("the settings cannot be used:{}", .0.iter().map(|fault| format!("\n  - {fault}")).collect::<String>())]
    Settings(Vec<ConfigFault>),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// A rule refuses it.
    #[error("{0}")]
    Refused(String),
    /// The store cannot be used now.
    #[error("{0}\nSee where it is: tollgate config")]
    Store(String),
    /// Whoever read the output has gone: there is nobody to tell.
    #[error("nobody reads the output")]
    Closed,
}

impl CliFault {
    /// Says it on stderr, and with which code the program ends.
    pub(super) fn tell(&self) -> ExitCode {
        let code = match self {
            Self::Closed => return ExitCode::SUCCESS,
            Self::Failed(_) => 1,
            Self::Usage(_) | Self::Settings(_) => 2,
            Self::NotFound(_) => 3,
            Self::Refused(_) => 4,
            Self::Store(_) => 5,
        };
        use std::io::Write as _;
        // Not `eprintln!`: it panics where nobody reads.
        let _ = writeln!(std::io::stderr(), "tollgate: {self}");
        ExitCode::from(code)
    }

    /// A file that cannot be used.
    pub(super) fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        let text = format!("{}: {error}", path.display());
        if error.kind() == std::io::ErrorKind::NotFound { Self::NotFound(text) } else { Self::Failed(text) }
    }
}

impl From<std::io::Error> for CliFault {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::Closed;
        }
        Self::Failed(error.to_string())
    }
}

impl From<StoreError> for CliFault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NotFound("there is no such user or key".to_owned()),
            StoreError::Conflict(conflict) => Self::Refused(conflict.to_string()),
            error @ StoreError::Unavailable(_) => Self::Store(error.to_string()),
            error => Self::Failed(error.to_string()),
        }
    }
}

impl From<ServiceError> for CliFault {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::NotFound => Self::NotFound("there is no such user or key".to_owned()),
            ServiceError::Store(error) => error.into(),
            ServiceError::Invalid(faults) => {
                let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
                Self::Refused(faults.join("; "))
            }
            error @ ServiceError::Random(_) => Self::Failed(error.to_string()),
            error => Self::Refused(error.to_string()),
        }
    }
}

impl From<PoliciesFault> for CliFault {
    fn from(fault: PoliciesFault) -> Self {
        match fault {
            PoliciesFault::Store(error) => error.into(),
            fault @ (PoliciesFault::File(_) | PoliciesFault::Kept { .. }) => Self::Refused(fault.to_string()),
        }
    }
}

impl From<SignInFault> for CliFault {
    fn from(error: SignInFault) -> Self {
        match error {
            SignInFault::Service(error) => error.into(),
            error => Self::Failed(error.to_string()),
        }
    }
}
