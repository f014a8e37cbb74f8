package statusapi

import (
	"net/http"
	"testing"
	"time"
)

func TestClockIsComparedWithTheAPIs(t *testing.T) {
	date := ""
	c := newTestClient(time.Minute, func(*http.Request) (*http.Response, error) {
		return answer(http.StatusOK, `{"data":{"services":[]}}`, "Content-Type", "application/json", "Date", date), nil
	})
	fetch := func() {
		t.Helper()
		if _, err := c.FetchMap(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	fetch()
	if ahead, known := c.ClockAhead(); known {
		t.Errorf("got %v of an answer without a date, want nothing known", ahead)
	}
	date = time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	fetch()
	if ahead, known := c.ClockAhead(); !known || ahead.Round(time.Minute) != time.Hour {
		t.Errorf("got %v, %v of a date an hour ago, want an hour ahead", ahead, known)
	}
}
