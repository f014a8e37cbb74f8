//go:build install

package tests

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// watcher looks at the configuration at every moment: whenever a process of the
// machine opens or executes a file, it is held until the watcher has looked. So it
// sees the mode with which a file is created, before anything is written to it, and
// what each command of a maintainer script leaves to the next.
type watcher struct {
	m        *machine
	events   *os.File
	watching sync.WaitGroup
	moments  int
	exposed  []string // what others could have read, in its order
}

// watch begins to look.
func (m *machine) watch() *watcher {
	m.Helper()
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK|unix.FAN_UNLIMITED_QUEUE, unix.O_RDONLY|unix.O_CLOEXEC)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) {
		skip(m, fmt.Sprintf("this kernel lets nobody look at every moment: fanotify: %v", err))
	}
	if err != nil {
		m.Fatalf("watching %s: %v", configFile, err)
	}
	w := &watcher{m: m, events: os.NewFile(uintptr(fd), "fanotify")} // its end frees whatever is held
	m.Cleanup(func() { w.events.Close() })
	const openings = unix.FAN_OPEN_PERM | unix.FAN_OPEN_EXEC_PERM
	if err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD|unix.FAN_MARK_MOUNT, openings, unix.AT_FDCWD, m.path("/")); err != nil {
		m.Fatalf("watching %s: %v", configFile, err)
	}
	w.watching.Go(w.run)
	return w
}

// run looks at each event, and lets the process go on. It ends with the events.
func (w *watcher) run() {
	buffer := make([]byte, 64<<10)
	for {
		n, err := w.events.Read(buffer)
		if err != nil {
			return
		}
		for rest := bytes.NewReader(buffer[:n]); rest.Len() > 0; {
			var event unix.FanotifyEventMetadata
			if err := binary.Read(rest, binary.NativeEndian, &event); err != nil {
				return
			}
			w.look()
			var answer bytes.Buffer
			_ = binary.Write(&answer, binary.NativeEndian, unix.FanotifyResponse{Fd: event.Fd, Response: unix.FAN_ALLOW})
			_, _ = w.events.Write(answer.Bytes())
			unix.Close(int(event.Fd))
		}
	}
}

// look notes which of the files that hold a token can be read by others. It opens
// none, or it would have to wait for itself; a folder is no such case.
func (w *watcher) look() {
	w.moments++
	entries, _ := os.ReadDir(w.m.path("/etc"))
	for _, entry := range entries {
		if !strings.Contains(entry.Name(), filepath.Base(configFile)) {
			continue
		}
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o007 == 0 {
			continue
		}
		found := fmt.Sprintf("/etc/%s %v", entry.Name(), info.Mode())
		if !slices.Contains(w.exposed, found) {
			w.exposed = append(w.exposed, found)
		}
	}
}

// done ends the watch and returns what others could have read meanwhile.
func (w *watcher) done() []string {
	w.m.Helper()
	w.events.Close()
	w.watching.Wait()
	if w.moments == 0 {
		w.m.Fatalf("watching %s: nothing was opened meanwhile, so nothing was seen", configFile)
	}
	return w.exposed
}

// neverExposed does something, and fails if others could read the configuration
// at any moment of it.
func (m *machine) neverExposed(what string, do func()) {
	m.Helper()
	w := m.watch()
	do()
	if exposed := w.done(); len(exposed) > 0 {
		m.Errorf("%s: others could read, for a moment: %s", what, strings.Join(exposed, ", "))
	}
}
