package target

import (
	"strings"
	"testing"
)

func TestParseSpec(t *testing.T) {
	for _, tt := range []struct{ raw, wantErr string }{
		{"target:http", ""},
		{"target:https-slow?delay=1.5s#cart", ""},
		{"target:http-failing?status=503&body=maintenance", ""},
		{"target:tcp-flapping?up=3s&down=1s", ""},
		{"target:tcp-blackhole", ""},
		{"target:https-refusing", ""},
		{"target:icmp#gateway", ""},
		{"http://127.0.0.1/", `must start with "target:"`},
		{"target:udp", `kind "udp", want http, https, tcp or icmp`},
		{"target:http-lazy", `state "lazy", want none or slow`},
		{"target:tcp-slow", "tcp cannot be slow: a connection is there or it is not"},
		{"target:tcp-failing", "tcp cannot be failing"},
		{"target:icmp-blackhole", "icmp cannot be blackhole: on loopback the kernel answers"},
		{"target:http-slow?delay=fast", `delay is "fast", want a duration such as 1.5s`},
		{"target:http-slow?delay=-1s", `delay is "-1s"`},
		{"target:http?delay=1s", `option "delay" is none of this kind and state`},
		{"target:http-failing?status=99", `status is "99", want 200 to 599`},
		{"target:http-blackhole?body=x", `option "body" is none of this kind and state`},
	} {
		t.Run(tt.raw, func(t *testing.T) {
			got, err := ParseSpec(tt.raw)
			switch {
			case tt.wantErr == "" && err != nil:
				t.Fatalf("ParseSpec(%q) = %v, want no error", tt.raw, err)
			case tt.wantErr == "" && got.String() != tt.raw:
				t.Errorf("ParseSpec(%q).String() = %q, want the spelling itself", tt.raw, got)
			case tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)):
				t.Errorf("ParseSpec(%q) = %v, want an error with %q", tt.raw, err, tt.wantErr)
			}
		})
	}
}
