package logging

import "testing"

func TestLinesOfTheSameTroubleHaveOneShape(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, one, other string }{
		{"a query's local port", "read udp 10.0.0.9:40211->10.0.0.53:53: connection refused", "read udp 10.0.0.9:51733->10.0.0.53:53: connection refused"},
		{"an IPv6 port", "dial tcp [fe80::1%eth0]:4242: no route", "dial tcp [fe80::2%eth0]:4243: no route"},
		{"a duration", "looking up \"a\": the resolver gave no answer within 4.998s", "looking up \"a\": the resolver gave no answer within 5s"},
		{"a name", `looking up "db1.example": no such host`, `looking up "db2.example": no such host`},
		{"a name with a quote in it", `looking up "a\"b": no such host`, `looking up "c": no such host`},
		{"a counter", "4711 bytes of 1200000 are missing", "12 bytes of 1200001 are missing"},
	} {
		if a, b := Shape(tt.one), Shape(tt.other); a != b {
			t.Errorf("%s: got the shapes %q and %q, want one", tt.name, a, b)
		}
	}
}

func TestOtherTroubleHasAnotherShape(t *testing.T) {
	t.Parallel()
	seen := make(map[string]string)
	for _, text := range []string{
		"status 503, want 200 to 299", "status 404, want 200 to 299", "connection refused", "host unreachable",
		`looking up "a": no such host`, `looking up "a": the resolver refused`, "no answer within 10s", `"`, "",
	} {
		if other, found := seen[Shape(text)]; found {
			t.Errorf("%q and %q have the shape %q, want two", text, other, Shape(text))
		}
		seen[Shape(text)] = text
	}
}
