//! Certificates for trying TLS on one machine: an authority of this one call, and what it has signed. It must not know who
//! uses them.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use zeroize::Zeroizing;

use super::{args::CertsArgs, fault::DevFault};
use crate::clock::{Clock as _, SystemClock};

/// Clocks of different machines differ: certificates hold from an hour ago.
const EARLIER: u64 = 3600;
const DAY: u64 = 24 * 3600;

/// What is signed: the name of its files, what it is used for, and for whom its file of the certificate is.
const SIGNED: [(&str, ExtendedKeyUsagePurpose, &str); 3] = [
    ("control-plane", ExtendedKeyUsagePurpose::ServerAuth, "the control plane's listeners"),
    ("envoy", ExtendedKeyUsagePurpose::ServerAuth, "Envoy's listener, which clients reach"),
    ("envoy-client", ExtendedKeyUsagePurpose::ClientAuth, "what Envoy shows to the control plane"),
];

/// One file to write.
struct Output {
    path: PathBuf,
    text: Zeroizing<String>,
    secret: bool,
}

/// Makes the certificates; returns what to say about them.
///
/// # Errors
/// [`DevFault`]: files are there already, or cannot be written; a name is no host name.
pub fn make(args: &CertsArgs) -> Result<String, DevFault> {
    let outputs = sign(args)?;
    if let Some(there) = outputs.iter().find(|output| output.path.exists()).filter(|_| !args.force) {
        let there = there.path.display();
        return Err(DevFault::Other(format!("{there} is there already; use --force to make all of them anew")));
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&args.out)
        .map_err(DevFault::file("cannot make", &args.out))?;
    for output in &outputs {
        write(output)?;
    }
    let mut said = format!("made for {} days, in {}:\n", args.days, args.out.display());
    said.push_str("  ca.pem                      the authority, for clients of Envoy, Envoy and control plane\n");
    for (name, _, what) in &SIGNED {
        said.push_str(&format!("  {:<28}{what}\n", format!("{name}.pem, -key.pem")));
    }
    said.push_str("The authority's own key is kept nowhere. These are for trying things out, not for the internet.\n");
    Ok(said)
}

fn sign(args: &CertsArgs) -> Result<Vec<Output>, DevFault> {
    let file =
        |name: &str, text: String, secret| Output { path: args.out.join(name), text: Zeroizing::new(text), secret };
    let now = SystemClock.now().unix_seconds();
    let at = |seconds: u64| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    let params = |name: &str| {
        let mut params = CertificateParams::default();
        params.not_before = at(now.saturating_sub(EARLIER));
        params.not_after = at(now.saturating_add(u64::from(args.days).saturating_mul(DAY)));
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        params
    };
    let fault = |fault: rcgen::Error| DevFault::Other(format!("cannot make a certificate: {fault}"));

    let mut authority = params("Tollgate, for trying");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(fault)?;
    let mut outputs = vec![file("ca.pem", authority.self_signed(&key).map_err(fault)?.pem(), false)];
    let issuer = Issuer::new(authority, key);
    for (name, usage, _) in &SIGNED {
        let mut signed = params(name);
        // A client has no host: its certificate names what it is.
        let names = match usage {
            ExtendedKeyUsagePurpose::ServerAuth => args.names.clone(),
            _ => vec![(*name).to_owned()],
        };
        let wrong = |_| DevFault::Other(format!("--name: {} are not all host names or addresses", names.join(", ")));
        signed.subject_alt_names = CertificateParams::new(names.clone()).map_err(wrong)?.subject_alt_names;
        signed.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        signed.extended_key_usages = vec![usage.clone()];
        let key = KeyPair::generate().map_err(fault)?;
        outputs.push(file(&format!("{name}.pem"), signed.signed_by(&key, &issuer).map_err(fault)?.pem(), false));
        outputs.push(file(&format!("{name}-key.pem"), key.serialize_pem(), true));
    }
    Ok(outputs)
}

/// Writes a file beside its place and moves it there: whoever watches it never reads half of it, and a key is never
/// readable for others.
fn write(output: &Output) -> Result<(), DevFault> {
    let part = output.path.with_extension("pem.part");
    let writing = || {
        drop(fs::remove_file(&part));
        let mode = if output.secret { 0o600 } else { 0o644 };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&part)?;
        file.write_all(output.text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, &output.path)
    };
    writing().map_err(DevFault::file("cannot write", Path::new(&output.path)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn args(out: &Path) -> CertsArgs {
        CertsArgs { out: out.to_owned(), names: vec!["localhost".into(), "127.0.0.1".into()], days: 30, force: false }
    }

    #[test]
    fn keys_are_for_their_owner_alone_and_nothing_is_overwritten_unasked() {
        let temp = tempfile::tempdir().unwrap();
        let out = temp.path().join("certs");
        let said = make(&args(&out)).unwrap();
        assert!(said.contains("envoy-client.pem"), "{said}");
        let mut names: Vec<_> = fs::read_dir(&out).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names.len(), 7, "{names:?}");
        for name in names {
            let name = name.into_string().unwrap();
            let mode = fs::metadata(out.join(&name)).unwrap().permissions().mode() & 0o777;
            let text = fs::read_to_string(out.join(&name)).unwrap();
            assert_eq!((mode == 0o600, text.contains("PRIVATE KEY")), (name.contains("-key"), name.contains("-key")));
        }
        let before = fs::read(out.join("ca.pem")).unwrap();
        fs::remove_file(out.join("envoy.pem")).unwrap();
        let fault = make(&args(&out)).unwrap_err().to_string();
        assert!(fault.contains("--force") && !out.join("envoy.pem").exists(), "{fault}");
        assert_eq!(fs::read(out.join("ca.pem")).unwrap(), before);
        make(&CertsArgs { force: true, ..args(&out) }).unwrap();
        assert_ne!(fs::read(out.join("ca.pem")).unwrap(), before);
    }

    #[test]
    fn a_name_that_cannot_stand_in_a_certificate_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let names = vec!["ü.test".to_owned()];
        let fault = make(&CertsArgs { names, ..args(temp.path()) }).unwrap_err().to_string();
        assert!(fault.contains("--name") && fault.contains("ü.test"), "{fault}");
    }
}
