package probe

import (
	"cmp"
	"net/url"
	"strings"

	"github.com/crisp-im/crisp-status-local/v2/internal/redact"
)

// masker returns a masker of the secrets of q and of its attempt: user and
// password, and the values of the query, which may be keys.
func (q request) masker() *redact.Masker {
	secrets := q.secrets()
	if q.first != nil {
		secrets = append(secrets, q.first.secrets()...)
	}
	return redact.New(secrets...)
}

// secrets returns the parts of q that may be secret.
func (q request) secrets() []redact.Secret {
	var secrets []redact.Secret
	if q.user != nil {
		secrets = append(secrets, redact.Basic(url.UserPassword(q.user.name, q.user.password)))
	}
	if q.target.handle == nil {
		return secrets
	}
	_, query, _ := strings.Cut(q.target.uri, "?")
	for parameter := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(parameter, "=")
		secret := cmp.Or(value, name) // a parameter without a value may be a secret
		secrets = append(secrets, redact.Text(secret))
		if decoded, err := url.QueryUnescape(secret); err == nil {
			secrets = append(secrets, redact.Text(decoded))
		}
	}
	return secrets
}
