//! The table.

use super::check;

#[test]
fn who_may_take_which_route() {
    let mut number = 0;
    number += check(
        r#"{"fallback":"deny","routes":[
            {"path":"/open","auth":"none"},
            {"path":"/maybe","auth":"optional"},
            {"path":"/any"},
            {"path":"/keys","accept":["api_key"]},
            {"path":"/web","accept":["clerk"]},
            {"path":"/older","accept":["legacy"]},
            {"path":"/machines","accept":["api_key","legacy"]},
            {"path":"/maybe-web","auth":"optional","accept":["clerk"]},
            {"path":"/either","accept":["clerk"],"session_cookie":true},
            {"path":"/cookie","accept":["clerk"],"session_cookie":true,"cookie_only":true},
            {"path":"/cookie-or-older","accept":["clerk","legacy"],"session_cookie":true,"cookie_only":true}
        ]}"#,
        "
        GET /open       -     anonymous
        GET /open       ada   anonymous
        GET /open       junk  anonymous
        GET /open       off   anonymous
        GET /maybe      -     anonymous
        GET /maybe      junk  malformed_credential
        GET /maybe      ada   pass
        GET /maybe      key   pass
        GET /maybe      off   user_inactive
        GET /any        -     missing_credential
        GET /any        junk  malformed_credential
        GET /any        ada   pass
        GET /any        old   pass
        GET /any        key   pass
        GET /any        off   user_inactive
        GET /keys       key   pass
        GET /keys       ada   method_not_accepted
        GET /keys       old   method_not_accepted
        GET /keys       -     missing_credential
        GET /keys       off   user_inactive
        GET /web        ada   pass
        GET /web        key   method_not_accepted
        GET /web        old   method_not_accepted
        GET /older      old   pass
        GET /older      ada   method_not_accepted
        GET /older      key   method_not_accepted
        GET /machines   key   pass
        GET /machines   old   pass
        GET /machines   ada   method_not_accepted
        GET /maybe-web  -     anonymous
        GET /maybe-web  ada   pass
        GET /maybe-web  key   method_not_accepted
        GET /web        ada@cookie missing_credential
        GET /either     ada@cookie pass
        GET /either     ada   pass
        GET /cookie     ada@cookie pass
        GET /cookie     ada   method_not_accepted
        GET /cookie     key   method_not_accepted
        GET /cookie     old   method_not_accepted
        GET /cookie     -     missing_credential
        GET /cookie-or-older ada@cookie pass
        GET /cookie-or-older ada   method_not_accepted
        GET /cookie-or-older old   pass
        GET /           -     route_denied
        GET /           boss  route_denied
        GET /anyone     ada   route_denied
        GET /any/       ada   route_denied
        GET /any/x      ada   route_denied
        GET /any?x=/web old   pass
        ",
    );
    number += check(
        r#"{"fallback":"authenticate","routes":[
            {"path":"/admin/**","roles":["admin"]},
            {"path":"/admin/reports","roles":["admin","developer"]},
            {"path":"/build/**","roles":["developer"]},
            {"path":"/pro/**","subscriptions":["pro","enterprise"]},
            {"path":"/big","subscriptions":["enterprise"],"roles":["admin"]},
            {"path":"/read","scopes":["read"]},
            {"path":"/write","scopes":["read","write"]},
            {"path":"/all","scopes":["write"],"roles":["developer"],"subscriptions":["pro"],"accept":["api_key"]}
        ]}"#,
        "
        GET /else           -       missing_credential
        GET /else           ada     pass
        GET /else           off     user_inactive
        GET /admin          boss    pass
        GET /admin/         boss    pass
        GET /admin/x/y      boss    pass
        GET /admin/x        bosskey pass
        GET /admin/x        ada     role_required
        GET /admin/x        dev     role_required
        GET /admin/x        -       missing_credential
        GET /admin/x        off     user_inactive
        GET /admin/reports  dev     pass
        GET /admin/reports  boss    pass
        GET /admin/reports  ada     role_required
        GET /admin/reports/ dev     role_required
        GET /administrator  ada     pass
        GET /build/1        dev     pass
        GET /build/1        key2    pass
        GET /build/1        boss    role_required
        GET /pro/x          pia     pass
        GET /pro/x          old     pass
        GET /pro/x          bosskey pass
        GET /pro/x          ada     subscription_required
        GET /pro/x          boss    subscription_required
        GET /big            bosskey pass
        GET /big            boss    subscription_required
        GET /big            old     role_required
        GET /read           key     pass
        GET /read           key2    pass
        GET /read           bosskey scope_required
        GET /read           ada     scope_required
        GET /read           boss    scope_required
        GET /write          key2    pass
        GET /write          key     scope_required
        GET /all            key2    pass
        GET /all            key     role_required
        GET /all            bosskey role_required
        GET /all            dev     method_not_accepted
        GET /all            ada     method_not_accepted
        ",
    );
    assert_eq!(number, 88);
}

#[test]
fn which_route_a_request_takes() {
    let number = check(
        r#"{"fallback":"deny","routes":[
            {"path":"/**","roles":["admin"]},
            {"path":"/api/**"},
            {"path":"/api/keys","accept":["clerk"]},
            {"path":"/api/keys","methods":["DELETE","PUT"],"accept":["legacy"]},
            {"path":"/api/keys/**","methods":["GET"],"accept":["api_key"]},
            {"path":"/t/{name}","accept":["clerk"]},
            {"path":"/t/known","accept":["legacy"]},
            {"path":"/t/{name}/parts","accept":["api_key"]},
            {"path":"/t/{name}/{part}","accept":["legacy"]},
            {"path":"/t/known/**","accept":["clerk"]},
            {"path":"/u/{a}/x/{b}/**","accept":["clerk"]},
            {"path":"/u/{a}/x","auth":"none"}
        ]}"#,
        "
        GET    /                boss  pass
        GET    /                ada   role_required
        GET    /apis            ada   role_required
        GET    /ap              ada   role_required
        GET    /API             ada   role_required
        GET    /api             ada   pass
        GET    /api/            ada   pass
        GET    /api/x/y/z       old   pass
        GET    /api/keys        ada   pass
        GET    /api/keys        key   method_not_accepted
        GET    /api/keys?q      ada   pass
        DELETE /api/keys        old   pass
        DELETE /api/keys        ada   method_not_accepted
        PUT    /api/keys        old   pass
        delete /api/keys        ada   pass
        POST   /api/keys        ada   pass
        GET    /api/keys/1      key   pass
        GET    /api/keys/1      ada   method_not_accepted
        HEAD   /api/keys/1      ada   pass
        POST   /api/keys/1      ada   pass
        GET    /api/keys/       key   pass
        POST   /api/keys/       ada   pass
        GET    /t/x             ada   pass
        GET    /t/x             old   method_not_accepted
        GET    /t/known         old   pass
        GET    /t/known         ada   method_not_accepted
        GET    /t/              ada   role_required
        GET    /t               ada   role_required
        GET    /t/x/parts       key   pass
        GET    /t/x/parts       old   method_not_accepted
        GET    /t/x/other       old   pass
        GET    /t/x/            old   role_required
        GET    /t/x/a/b         old   role_required
        GET    /t/known/parts   ada   pass
        GET    /t/known/parts   key   method_not_accepted
        GET    /t/known/other   ada   pass
        GET    /t/known/        ada   pass
        GET    /t/%6Bnown       ada   ambiguous_path
        GET    /t/%c3%a9        ada   pass
        GET    /t/%C3%A9%20a    ada   pass
        GET    /%61pi           boss  ambiguous_path
        GET    /api%2Dkeys      boss  ambiguous_path
        GET    /api/%c0%ae%c0%ae/admin boss ambiguous_path
        GET    /api%c0%afkeys   ada   ambiguous_path
        GET    /api/%e0%80%af   ada   ambiguous_path
        GET    /t/%e9           ada   ambiguous_path
        GET    /t/Known         ada   pass
        GET    /u/1/x/2         ada   pass
        GET    /u/1/x/2/3/4     ada   pass
        GET    /u/1/x           -     anonymous
        GET    /u/1/x/          -     missing_credential
        GET    /u/1/x/          ada   role_required
        GET    /u//x            ada   ambiguous_path
        GET    /api/../admin    boss  ambiguous_path
        GET    /api/%2e%2e/a    boss  ambiguous_path
        GET    /api//keys       ada   ambiguous_path
        GET    /api/./keys      ada   ambiguous_path
        GET    /api%2Fkeys      ada   ambiguous_path
        GET    /api%5Ckeys      ada   ambiguous_path
        GET    /api\\keys        ada   ambiguous_path
        GET    /api;x/keys      ada   ambiguous_path
        GET    /api%00          ada   ambiguous_path
        GET    /api%zz          ada   ambiguous_path
        GET    /api%25          ada   ambiguous_path
        GET    *                ada   ambiguous_path
        ",
    );
    assert_eq!(number, 65);
}

#[test]
fn which_host_is_meant() {
    let number = check(
        r#"{"fallback":"deny","routes":[
            {"path":"/**","accept":["legacy"]},
            {"path":"/**","host":"*.example.com","accept":["api_key"]},
            {"path":"/**","host":"*.eu.example.com","roles":["admin"]},
            {"path":"/**","host":"api.example.com","accept":["clerk"]},
            {"path":"/x","host":"api.example.com","methods":["GET"],"auth":"none"}
        ]}"#,
        "
        GET  other.example/x           old   pass
        GET  example.com/x             old   pass
        GET  a.example.com/x           key   pass
        GET  a.b.example.com/x         key   pass
        GET  a.example.com/x           old   method_not_accepted
        GET  a.eu.example.com/x        boss  pass
        GET  a.eu.example.com/x        key   role_required
        GET  eu.example.com/x          key   pass
        GET  api.example.com/y         ada   pass
        GET  API.Example.COM/y         ada   pass
        GET  api.example.com:8443/y    ada   pass
        GET  api.example.com:x/y       old   pass
        GET  api.example.com/y         key   method_not_accepted
        GET  api.example.com/x         -     anonymous
        POST api.example.com/x         -     missing_credential
        POST api.example.com/x         ada   pass
        GET  xapi.example.com/x        -     missing_credential
        GET  api.example.com.evil/x    -     missing_credential
        GET  .example.com/x            old   pass
        GET  [::1]:80/x                old   pass
        ",
    );
    assert_eq!(number, 20);
}

#[test]
fn what_belongs_to_whom() {
    let number = check(
        r#"{"fallback":"deny","routes":[
            {"path":"/users/{user_id}/**","owner":"user_id"},
            {"path":"/users/me"},
            {"path":"/teams/{team}/users/{user_id}","owner":"user_id","methods":["GET"]},
            {"path":"/keys-of/{user_id}","owner":"user_id","accept":["api_key"],"scopes":["read"]}
        ]}"#,
        "
        GET  /users/usr_ada             ada     pass
        GET  /users/usr_ada/            ada     pass
        GET  /users/usr_ada/keys/1      ada     pass
        PUT  /users/usr_ada/keys/1      ada     pass
        GET  /users/usr_ada             pia     not_owner
        GET  /users/usr_ada/x           key     not_owner
        GET  /users/usr_ada             -       missing_credential
        GET  /users/usr_ada             boss    pass
        GET  /users/usr_ada             bosskey pass
        GET  /users/usr_ada             dev     not_owner
        GET  /users/usr_ada             off     user_inactive
        GET  /users/usr_old/x           old     pass
        GET  /users/usr_key/x           key     pass
        GET  /users/USR_ADA             ada     not_owner
        GET  /users/usr_ad              ada     not_owner
        GET  /users/usr_ada2            ada     not_owner
        GET  /users/usr%5Fada           ada     ambiguous_path
        GET  /users/usr_ada%20          ada     not_owner
        GET  /users/usr_ada?x=usr_pia   ada     pass
        GET  /users/x?user_id=usr_ada   ada     not_owner
        GET  /users/x/usr_ada           ada     not_owner
        GET  /users/me                  pia     pass
        GET  /users                     ada     route_denied
        GET  /users/                    ada     route_denied
        GET  /teams/1/users/usr_pia     pia     pass
        GET  /teams/usr_pia/users/1     pia     not_owner
        POST /teams/1/users/usr_pia     pia     route_denied
        GET  /keys-of/usr_key           key     pass
        GET  /keys-of/usr_key           key2    not_owner
        GET  /keys-of/usr_key           ada     method_not_accepted
        GET  /keys-of/usr_bosskey       bosskey scope_required
        ",
    );
    assert_eq!(number, 31);
}

#[test]
fn what_is_only_watched_passes_as_it_came() {
    let routes = r#""routes":[
        {"path":"/old/**","mode":"shadow","roles":["admin"]},
        {"path":"/old/open","mode":"shadow","auth":"none"},
        {"path":"/old/maybe","mode":"shadow","auth":"optional"},
        {"path":"/old/{user_id}/mine","mode":"shadow","owner":"user_id"},
        {"path":"/new/**","roles":["admin"]}
    ]"#;
    let mut number = check(
        &format!(r#"{{"fallback":"deny",{routes}}}"#),
        "
        GET /old/x               boss  watched:pass
        GET /old/x               ada   watched:role_required
        GET /old/x               -     watched:missing_credential
        GET /old/x               junk  watched:malformed_credential
        GET /old/x               off   watched:user_inactive
        GET /old/open            -     watched:pass
        GET /old/maybe           -     watched:pass
        GET /old/maybe           junk  watched:malformed_credential
        GET /old/usr_ada/mine    ada   watched:pass
        GET /old/usr_ada/mine    pia   watched:not_owner
        GET /new/x               boss  pass
        GET /new/x               ada   role_required
        GET /else                boss  route_denied
        GET /old//x              boss  ambiguous_path
        GET /old/../new/x        boss  ambiguous_path
        ",
    );
    number += check(
        &format!(r#"{{"fallback":"authenticate","mode":"shadow",{routes}}}"#),
        "
        GET /old//x              boss  watched:ambiguous_path
        GET /else                -     watched:missing_credential
        GET /else                ada   watched:pass
        GET /new/x               ada   role_required
        ",
    );
    // Nobody pays there, but who could not is told: of 100 tokens.
    number += check(
        r#"{"fallback":"deny","mode":"shadow","routes":[
            {"path":"/cheap","mode":"shadow","cost":{"at_least":3,"reserve":100}},
            {"path":"/dear","mode":"shadow","cost":{"at_least":3,"reserve":101}},
            {"path":"/dear/admin","mode":"shadow","roles":["admin"],"cost":{"at_least":3,"reserve":101}}
        ]}"#,
        "
        GET /cheap               ada   watched:pass
        GET /dear                ada   watched:tokens_exhausted
        GET /dear                key   watched:tokens_exhausted
        GET /dear                -     watched:missing_credential
        GET /dear/admin          ada   watched:role_required
        GET /dear/admin          boss  watched:tokens_exhausted
        ",
    );
    assert_eq!(number, 25);
}
