package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// firstMap puts in force the map that the options ask for.
func (s *Server) firstMap() error {
	m := s.options.Map
	switch {
	case s.options.MapFile != "":
		s.refresh()
		if s.broken != "" {
			return errors.New(s.broken)
		}
		return nil
	case s.options.Generate != nil:
		var err error
		if m, s.generated, err = s.options.Generate.build(s.authority); err != nil {
			return err
		}
	}
	return s.SetMap(m)
}

// SetMap puts another map in force, as an edited map file does. On error the one
// in force stays.
func (s *Server) SetMap(m Map) error {
	s.loadMu.Lock()
	defer s.loadMu.Unlock()
	return s.setMapLocked(m)
}

func (s *Server) setMapLocked(m Map) error {
	prev := s.judge.current()
	date := max(time.Now().UnixMilli(), s.current+1)
	next, err := newRoster(m, prev, s.authority, s.generatedTarget, date)
	if err != nil {
		return err
	}
	s.current = date
	s.dates[date] = true
	for _, t := range next.targets {
		t.delay.Store(int64(t.spec.delay(next.limits)))
	}
	s.judge.install(next)
	prev.closeTargets(next.targets)
	return nil
}

// refresh reads the map file again, if there is one and it has changed.
func (s *Server) refresh() {
	if s.options.MapFile == "" {
		return
	}
	s.loadMu.Lock()
	defer s.loadMu.Unlock()
	text, err := readMapFile(s.options.MapFile)
	if err == nil {
		if s.tried != nil && bytes.Equal(text, s.tried) {
			return
		}
		s.tried = text
		var m Map
		if m, err = ParseMap(text); err == nil {
			err = s.setMapLocked(m)
		}
		if err != nil {
			err = fmt.Errorf("reading map %q: %w", s.options.MapFile, err)
		}
	}
	was := s.broken
	s.broken = ""
	if err != nil {
		s.tried = nil // tried again next time: a file that was missing may be back as it was
		s.broken = err.Error()
	}
	switch {
	case s.broken != "" && s.broken != was && s.current != 0:
		fmt.Fprintf(s.options.Log, "%s\nthe last good map stays in force\n", s.broken)
	case s.broken == "" && was != "":
		fmt.Fprintf(s.options.Log, "map %q is good again\n", s.options.MapFile)
	}
}

// issued says whether a date was ever handed out.
func (s *Server) issued(date int64) bool {
	s.loadMu.Lock()
	defer s.loadMu.Unlock()
	return s.dates[date]
}

// Target returns the own target of that name in the map in force.
func (s *Server) Target(name string) (*Target, bool) {
	t, ok := s.judge.current().targets[name]
	return t, ok
}
