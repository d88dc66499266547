//! Secrets, keys and tokens.

use super::*;

#[test]
fn jwt_mode_and_keys_require_each_other() {
    let secret = "auth.secrets = ['a secret of no less than 32 characters']";
    assert_eq!(keys("auth.mode = 'jwt'", &[]), ["auth.mode"]);
    assert_eq!(keys(secret, &[]), ["auth.mode"], "configured keys imply jwt");
    assert!(read(&format!("auth.mode = 'jwt'\n{secret}\nlisten = '0.0.0.0:80'"), &[]).is_ok());
    assert_eq!(keys("auth.mode = 'jwt'\nauth.secrets = ['too short']", &[]), ["auth.secrets[0]"]);
    assert_eq!(keys("auth.mode = 'jwt'\nauth.public_keys = ['no key']", &[]), ["auth.public_keys[0]"]);
}

#[test]
fn close_on_expiry_needs_tokens() {
    assert_eq!(keys("auth.close_on_expiry = true", &[]), ["auth.close_on_expiry"]);
    let secret = "auth.mode = 'jwt'\nauth.secrets = ['a secret of no less than 32 characters']";
    assert!(!read(secret, &[]).unwrap().auth.close_on_expiry);
    assert!(read(&format!("{secret}\nauth.close_on_expiry = true"), &[]).unwrap().auth.close_on_expiry);
}

#[test]
fn secrets_are_never_printed() {
    let (secret, short) = ("a secret of no less than 32 characters", "telltale");
    let content = format!(
        "signing_keys = ['{secret}']\nadmin.token = '{secret}'\nauth.mode = 'jwt'\nauth.secrets = ['{secret}']"
    );
    assert!(!format!("{:?}", read(&content, &[]).unwrap()).contains(secret));
    let url = "azure-table://telltale@shop.table.core.windows.net";
    let store = [("HUBCAST_STORE__URL", url), ("HUBCAST_STORE__AZURE_KEY", "telltale")];
    let settings = read("", &store).unwrap();
    assert_eq!(settings.store_url(), url);
    assert!(!format!("{settings:?}").contains(short));
    let flags = Flags { store_url: Some(url.into()), ..Flags::default() };
    assert!(!format!("{flags:?}").contains(short));
    let faults = read(&format!("signing_keys = ['{short}']\nadmin.token = '{short}'"), &[]).unwrap_err();
    assert_eq!(faults.iter().count(), 2);
    assert!(!faults.to_string().contains(short), "{faults}");
}

#[test]
fn secrets_must_not_contain_control_characters() {
    let content = "signing_keys = [\"\"\"0123456789012345\n\"\"\"]\nadmin.token = \"\\u0000123456789012345\"";
    let mut found = keys(content, &[]);
    found.sort();
    assert_eq!(found, ["admin.token", "signing_keys[0]"]);
}

#[test]
fn private_key_is_refused_as_public_key() {
    let private = include_str!("../../web/jwt/test-private.pem");
    let faults = faults(&format!("[auth]\nmode = 'jwt'\npublic_keys = [\"\"\"{private}\"\"\"]"), &[]);
    let [(key, text)] = &faults[..] else { panic!("{faults:?}") };
    assert!(key.starts_with("auth.public_keys") && text.contains("private key"), "{key}: {text}");
}
