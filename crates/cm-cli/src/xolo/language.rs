//! The command language of the earlier identity service: words of any case, texts in single quotes, an optional `;` behind
//! each command, comments behind `#` and `//`.

use std::fmt;

/// Longest file of commands, in bytes.
pub(crate) const SCRIPT_BYTES_MAX: usize = 1024 * 1024;

/// A command with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) line: u32,
    pub(crate) command: Command,
}

/// What may be commanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// `CREATE USER 'u' WITH PASSWORD='…' EMAIL='…'`
    CreateUser { user: String, fields: Vec<(String, String)> },
    /// `UPDATE USER 'u' SET PASSWORD='…'`
    UpdateUser { user: String, fields: Vec<(String, String)> },
    /// `DELETE USER 'u'`
    DeleteUser { user: String },
    /// `AUTHENTICATE USER 'u' WITH PASSWORD '…' FOR SCOPE 's'`
    Authenticate { user: String, password: String, scope: Option<String> },
    /// `CREATE SCOPE 's'`
    CreateScope { scope: String },
    /// `ASSIGN SCOPE 's' TO USER 'u'`
    AssignScope { scope: String, user: String },
    /// `GENERATE LICENSE FOR 'u' IN SCOPE 's' EXPIRES '1d'`
    GenerateLicense { user: String, scope: String, expires: Option<String> },
    /// `DELETE LICENSE FOR 'u' IN SCOPE 's'`
    DeleteLicense { user: String, scope: String },
    /// `GRANT 'perm' ON 'res' TO 'role'`
    Grant { permission: String, resource: String, role: String },
    /// `REVOKE 'perm' ON 'res' FROM 'role'`
    Revoke { permission: String, resource: String, role: String },
    /// `ASSIGN ROLE 'r' TO USER 'u'`
    AssignRole { role: String, user: String },
    /// `LOAD ABAC POLICY 'path'`
    LoadPolicy { path: String },
    /// `EVALUATE ABAC REQUEST 'path'`
    EvaluateRequest { path: String },
    /// `ENCRYPT FILE 'f' WITH KEY 'k' AS 'g'`
    Encrypt { file: String, key: String, target: String },
    /// `DECRYPT FILE 'f' WITH KEY 'k' AS 'g'`
    Decrypt { file: String, key: String, target: String },
}

/// A line that is no command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScriptError {
    pub(crate) line: u32,
    pub(crate) problem: String,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for ScriptError {}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// In upper case.
    Word(String),
    Text(String),
    Equals,
    Semicolon,
}

/// All commands of a file.
pub(crate) fn parse(script: &str) -> Result<Vec<Line>, ScriptError> {
    if script.len() > SCRIPT_BYTES_MAX {
        let problem = format!("a file of commands must not be longer than {SCRIPT_BYTES_MAX} bytes");
        return Err(ScriptError { line: 1, problem });
    }
    let mut reader = Reader { tokens: tokens(script)?, at: 0 };
    let mut lines = Vec::new();
    loop {
        while reader.takes(&Token::Semicolon) {}
        let Some((line, _)) = reader.tokens.get(reader.at) else { return Ok(lines) };
        let line = *line;
        lines.push(Line { line, command: reader.command()? });
    }
}

fn tokens(script: &str) -> Result<Vec<(u32, Token)>, ScriptError> {
    let mut tokens = Vec::new();
    for (place, text) in script.lines().enumerate() {
        let line = u32::try_from(place + 1).unwrap_or(u32::MAX);
        let error = |problem: String| ScriptError { line, problem };
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            if first == '#' || rest.starts_with("//") {
                break;
            }
            let (token, len) = match first {
                '=' => (Token::Equals, 1),
                ';' => (Token::Semicolon, 1),
                '\'' => {
                    let end =
                        rest[1..].find('\'').ok_or_else(|| error("a text has no closing `'`".to_owned()))?;
                    (Token::Text(rest[1..=end].to_owned()), end + 2)
                }
                first if first.is_ascii_alphabetic() => {
                    let len =
                        rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                    (Token::Word(rest[..len].to_ascii_uppercase()), len)
                }
                other => return Err(error(format!("unexpected character `{other}`"))),
            };
            tokens.push((line, token));
            rest = rest[len..].trim_start();
        }
    }
    Ok(tokens)
}

struct Reader {
    tokens: Vec<(u32, Token)>,
    at: usize,
}

impl Reader {
    fn command(&mut self) -> Result<Command, ScriptError> {
        let verb = self.word("a command")?;
        match verb.as_str() {
            "CREATE" => match self.one_of(&["USER", "SCOPE"])? {
                "USER" => {
                    let user = self.text("the user")?;
                    self.keyword("WITH")?;
                    Ok(Command::CreateUser { user, fields: self.fields()? })
                }
                _ => Ok(Command::CreateScope { scope: self.text("the scope")? }),
            },
            "UPDATE" => {
                self.keyword("USER")?;
                let user = self.text("the user")?;
                self.keyword("SET")?;
                Ok(Command::UpdateUser { user, fields: self.fields()? })
            }
            "DELETE" => match self.one_of(&["USER", "LICENSE"])? {
                "USER" => Ok(Command::DeleteUser { user: self.text("the user")? }),
                _ => {
                    self.optional("FOR");
                    self.optional("USER");
                    let user = self.text("the user")?;
                    self.keyword("IN")?;
                    self.keyword("SCOPE")?;
                    Ok(Command::DeleteLicense { user, scope: self.text("the scope")? })
                }
            },
            "AUTHENTICATE" => {
                self.keyword("USER")?;
                let user = self.text("the user")?;
                self.keyword("WITH")?;
                self.keyword("PASSWORD")?;
                self.takes(&Token::Equals);
                let password = self.text("the password")?;
                let scope = match self.optional("FOR") {
                    true => {
                        self.keyword("SCOPE")?;
                        Some(self.text("the scope")?)
                    }
                    false => None,
                };
                Ok(Command::Authenticate { user, password, scope })
            }
            "ASSIGN" => {
                let what = self.one_of(&["SCOPE", "ROLE"])?;
                let name = self.text("what is assigned")?;
                self.keyword("TO")?;
                self.keyword("USER")?;
                let user = self.text("the user")?;
                Ok(match what {
                    "SCOPE" => Command::AssignScope { scope: name, user },
                    _ => Command::AssignRole { role: name, user },
                })
            }
            "GENERATE" => {
                self.keyword("LICENSE")?;
                self.keyword("FOR")?;
                self.optional("USER");
                let user = self.text("the user")?;
                self.keyword("IN")?;
                self.keyword("SCOPE")?;
                let scope = self.text("the scope")?;
                let expires = if self.optional("EXPIRES") { Some(self.text("a time span")?) } else { None };
                Ok(Command::GenerateLicense { user, scope, expires })
            }
            "GRANT" | "REVOKE" => {
                let permission = self.text("the permission")?;
                self.keyword("ON")?;
                let resource = self.text("the resource")?;
                self.keyword(if verb == "GRANT" { "TO" } else { "FROM" })?;
                self.optional("ROLE");
                let role = self.text("the role")?;
                Ok(match verb.as_str() {
                    "GRANT" => Command::Grant { permission, resource, role },
                    _ => Command::Revoke { permission, resource, role },
                })
            }
            "LOAD" | "EVALUATE" => {
                self.keyword("ABAC")?;
                self.keyword(if verb == "LOAD" { "POLICY" } else { "REQUEST" })?;
                let path = self.text("a file")?;
                Ok(if verb == "LOAD" {
                    Command::LoadPolicy { path }
                } else {
                    Command::EvaluateRequest { path }
                })
            }
            "ENCRYPT" | "DECRYPT" => {
                self.keyword("FILE")?;
                let file = self.text("the file")?;
                self.keyword("WITH")?;
                self.keyword("KEY")?;
                let key = self.text("the file of the key")?;
                self.keyword("AS")?;
                let target = self.text("the file to write")?;
                Ok(match verb.as_str() {
                    "ENCRYPT" => Command::Encrypt { file, key, target },
                    _ => Command::Decrypt { file, key, target },
                })
            }
            other => Err(self.before(format!("unknown command `{other}`"))),
        }
    }

    /// One or more `NAME='…'`.
    fn fields(&mut self) -> Result<Vec<(String, String)>, ScriptError> {
        let mut fields = Vec::new();
        while let Some((_, Token::Word(_))) = self.tokens.get(self.at)
            && self.tokens.get(self.at + 1).is_some_and(|(_, token)| *token == Token::Equals)
        {
            let name = self.word("a field")?;
            self.at += 1;
            fields.push((name, self.text("a value")?));
        }
        match fields.is_empty() {
            true => Err(self.here("expected a field such as PASSWORD='…'".to_owned())),
            false => Ok(fields),
        }
    }

    fn takes(&mut self, token: &Token) -> bool {
        let is_it = self.tokens.get(self.at).is_some_and(|(_, found)| found == token);
        self.at += usize::from(is_it);
        is_it
    }

    fn optional(&mut self, keyword: &str) -> bool {
        self.takes(&Token::Word(keyword.to_owned()))
    }

    fn keyword(&mut self, keyword: &str) -> Result<(), ScriptError> {
        if self.optional(keyword) { Ok(()) } else { Err(self.here(format!("expected {keyword}"))) }
    }

    fn one_of(&mut self, keywords: &[&'static str]) -> Result<&'static str, ScriptError> {
        match keywords.iter().find(|keyword| self.optional(keyword)) {
            Some(keyword) => Ok(keyword),
            None => Err(self.here(format!("expected {}", keywords.join(" or ")))),
        }
    }

    fn word(&mut self, expected: &str) -> Result<String, ScriptError> {
        match self.tokens.get(self.at) {
            Some((_, Token::Word(word))) => {
                self.at += 1;
                Ok(word.clone())
            }
            _ => Err(self.here(format!("expected {expected}"))),
        }
    }

    fn text(&mut self, expected: &str) -> Result<String, ScriptError> {
        match self.tokens.get(self.at) {
            Some((_, Token::Text(text))) => {
                self.at += 1;
                Ok(text.clone())
            }
            _ => Err(self.here(format!("expected {expected} in single quotes"))),
        }
    }

    /// An error at the next token.
    fn here(&self, problem: String) -> ScriptError {
        let line = self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |(line, _)| *line);
        ScriptError { line, problem }
    }

    /// An error at the token that was taken last.
    fn before(&self, problem: String) -> ScriptError {
        let line = self.tokens.get(self.at.saturating_sub(1)).map_or(1, |(line, _)| *line);
        ScriptError { line, problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_is_read() {
        let script = "# users\ncreate user 'u' with PASSWORD='p w' EMAIL='e@x';\nUPDATE USER 'u' SET password='q'\nDELETE USER 'u';\n\
                      AUTHENTICATE USER 'u' WITH PASSWORD 'p' FOR SCOPE 's' // now\nCREATE SCOPE 's'\nASSIGN SCOPE 's' TO USER 'u'\n\
                      GENERATE LICENSE FOR 'u' IN SCOPE 's' EXPIRES '1d'\nDELETE LICENSE FOR 'u' IN SCOPE 's'\nGRANT 'read' ON 'bucket/x' TO 'r';\n\
                      REVOKE 'read' ON 'bucket/x' FROM 'r'\nASSIGN ROLE 'r' TO USER 'u'\nLOAD ABAC POLICY 'p.json'\n\
                      EVALUATE ABAC REQUEST 'q'\nENCRYPT FILE 'f' WITH KEY 'k' AS 'g'\nDECRYPT FILE 'g' WITH KEY 'k' AS\n'h'";
        let lines = parse(script).unwrap();
        assert_eq!(lines.len(), 15);
        let fields = vec![("PASSWORD".to_owned(), "p w".to_owned()), ("EMAIL".to_owned(), "e@x".to_owned())];
        assert_eq!(lines[0], Line { line: 2, command: Command::CreateUser { user: "u".to_owned(), fields } });
        let decrypt = Command::Decrypt { file: "g".to_owned(), key: "k".to_owned(), target: "h".to_owned() };
        assert_eq!(lines[14], Line { line: 16, command: decrypt });
    }

    #[test]
    fn what_is_no_command_is_told_with_its_line() {
        let check =
            |script: &str, expected: &str| assert_eq!(parse(script).unwrap_err().to_string(), expected);
        check("\nDROP USER 'u'", "line 2: unknown command `DROP`");
        check("GRANT 'x' TO 'y'", "line 1: expected ON");
        check("CREATE USER u", "line 1: expected the user in single quotes");
        check("CREATE USER 'u' WITH", "line 1: expected a field such as PASSWORD='…'");
        check("DELETE USER 'u", "line 1: a text has no closing `'`");
        check("DELETE USER \"u\"", "line 1: unexpected character `\"`");
        assert_eq!(parse("").unwrap(), []);
    }
}
