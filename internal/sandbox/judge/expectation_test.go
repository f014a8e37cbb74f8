package judge

import (
	"testing"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/target"
)

func TestWhatATargetMustBeJudged(t *testing.T) {
	l := target.Limits{Retry: 2, DeadAfter: 10 * time.Second, SickAfter: 5 * time.Second}
	never := target.Limits{Retry: 2, DeadAfter: 10 * time.Second}
	for _, tt := range []struct {
		raw    string
		limits target.Limits
		rules  Rules
		want   Health
	}{
		{"target:http", l, Rules{}, Healthy},
		{"target:tcp", l, Rules{}, Healthy},
		{"target:icmp", l, Rules{}, Healthy},
		{"target:tcp-blackhole", l, Rules{}, Dead},
		{"target:tcp-refusing", l, Rules{}, Dead},
		{"target:http-slow", l, Rules{}, Sick},
		{"target:http-slow", never, Rules{}, Healthy},
		{"target:http-slow?delay=4s", l, Rules{}, Healthy},
		{"target:http-slow?delay=6s", l, Rules{}, Sick},
		{"target:http-slow?delay=11s", l, Rules{}, Dead},
		{"target:http-slow?delay=5s", l, Rules{}, ""},  // at the limit either is right
		{"target:http-slow?delay=10s", l, Rules{}, ""}, // there too
		{"target:http-failing", l, Rules{}, Dead},
		{"target:http-failing", l, Rules{HealthyBelow: new(600)}, Healthy},
		{"target:http-failing?status=404", l, Rules{HealthyAbove: new(500), HealthyBelow: new(600)}, Dead},
		{"target:http", l, Rules{HealthyMatch: new("ok")}, Healthy},
		{"target:http", l, Rules{HealthyMatch: new("")}, Healthy},
		{"target:http", l, Rules{HealthyMatch: new("fine")}, Dead},
		{"target:http?body=maintenance", l, Rules{DeadMatch: new("maintenance")}, Dead},
		{"target:http", l, Rules{DeadMatch: new("")}, Healthy},
	} {
		t.Run(tt.raw, func(t *testing.T) {
			spec, err := target.ParseSpec(tt.raw)
			if err != nil {
				t.Fatal(err)
			}
			if got := Expect(&spec, tt.limits, tt.rules); got != tt.want {
				t.Errorf("%s under %+v must be judged %q, want %q", tt.raw, tt.limits, got, tt.want)
			}
		})
	}
}
