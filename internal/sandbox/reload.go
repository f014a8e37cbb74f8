package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/crisp-im/crisp-status-local/v2/internal/sandbox/target"
)

// firstMap puts in force the map that the options ask for.
func (s *Server) firstMap() error {
	m := s.options.Map
	switch {
	case s.options.MapFile != "":
		s.refresh()
		if s.mapError != "" {
			return errors.New(s.mapError)
		}
		return nil
	case s.options.Generate != nil:
		var err error
		if m, err = s.options.Generate.build(s.listeners); err != nil {
			return err
		}
	}
	return s.SetMap(m)
}

// SetMap puts another map in force, as an edited map file does. On error the one
// in force stays.
func (s *Server) SetMap(m Map) error {
	s.mapMu.Lock()
	defer s.mapMu.Unlock()
	return s.setMapLocked(m)
}

func (s *Server) setMapLocked(m Map) error {
	prev := s.active
	next, err := s.newActiveMap(m, prev, max(time.Now().UnixMilli(), prev.date+1))
	if err != nil {
		return err
	}
	s.issued[next.date] = true
	for _, t := range next.targets {
		t.SetLimits(next.limits)
	}
	s.active = next
	s.judge.Install(next.judged, time.Now())
	prev.closeTargets(next.targets)
	return nil
}

// refresh reads the map file again, if there is one and it has changed.
func (s *Server) refresh() {
	if s.options.MapFile == "" {
		return
	}
	s.mapMu.Lock()
	defer s.mapMu.Unlock()
	text, err := readMapFile(s.options.MapFile)
	if err == nil {
		if s.mapText != nil && bytes.Equal(text, s.mapText) {
			return
		}
		s.mapText = text
		var m Map
		if m, err = ParseMap(text); err == nil {
			err = s.setMapLocked(m)
		}
		if err != nil {
			err = fmt.Errorf("reading map %q: %w", s.options.MapFile, err)
		}
	}
	before := s.mapError
	s.mapError = ""
	if err != nil {
		s.mapText = nil // tried again next time: a missing file may come back unchanged
		s.mapError = err.Error()
	}
	switch {
	case s.mapError != "" && s.mapError != before && s.active.date != 0:
		fmt.Fprintf(s.options.Log, "%s\nthe last good map stays in force\n", s.mapError)
	case s.mapError == "" && before != "":
		fmt.Fprintf(s.options.Log, "map %q is good again\n", s.options.MapFile)
	}
}

// mapFor returns the map in force, whether it is newer than the client's, and
// whether since, the date of the client's map, was ever handed out. A date that
// was not is taken for none.
func (s *Server) mapFor(since int64) (*activeMap, mapAnswer) {
	s.mapMu.Lock()
	defer s.mapMu.Unlock()
	var answer mapAnswer
	if answer.issued = s.issued[since]; !answer.issued {
		since = 0
	}
	answer.changed = s.judge.MapRequested(since, time.Now())
	return s.active, answer
}

// mapAnswer says how a map request is answered.
type mapAnswer struct {
	issued  bool // the client's date is one of ours
	changed bool // the client needs the map
}

// Target returns the target of that name, made by the sandbox, in the map in force.
func (s *Server) Target(name string) (*target.Target, bool) {
	s.mapMu.Lock()
	defer s.mapMu.Unlock()
	t, ok := s.active.targets[name]
	return t, ok
}
