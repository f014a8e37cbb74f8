package probe

import (
	"cmp"
	"net/url"
	"strings"

	"github.com/crisp-im/crisp-status-local/v2/internal/redact"
)

// masker hides what q and the attempt that it is part of authenticate with: user
// and password, and the values of the query, since keys are found there as well.
func (q request) masker() *redact.Masker {
	secrets := []redact.Secret{redact.Basic(q.user)}
	for _, u := range []*url.URL{q.first, q.url} {
		if u == nil {
			continue
		}
		secrets = append(secrets, redact.Basic(u.User))
		for parameter := range strings.SplitSeq(u.RawQuery, "&") {
			name, value, _ := strings.Cut(parameter, "=")
			secret := cmp.Or(value, name) // what has no value may be one
			secrets = append(secrets, redact.Text(secret))
			if decoded, err := url.QueryUnescape(secret); err == nil {
				secrets = append(secrets, redact.Text(decoded))
			}
		}
	}
	return redact.New(secrets...)
}
