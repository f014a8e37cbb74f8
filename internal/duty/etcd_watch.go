package duty

import (
	"context"
	"time"
)

// watch is a watch on the election of a group, so that the next member takes over at
// once. An event only makes a pass begin, which reads the group; if the watch fails,
// that pass comes a beat later.
type watch struct {
	endpoint, token string
	cancel          context.CancelFunc
	done            chan struct{} // closed when it has ended
	began           time.Time
}

// keep starts a watch at the endpoint that answers, unless there is one.
func (w *watch) keep(ctx context.Context, e *etcd, wake chan<- struct{}) {
	c := e.client
	endpoint := c.endpoints[c.current]
	if w.done != nil {
		same := w.endpoint == endpoint && w.token == c.token
		select {
		case <-w.done:
			// A watch that ends as soon as it begins must not cause a flood of passes.
			same = same && time.Since(w.began) < e.beat()
		default:
		}
		if same {
			return
		}
	}
	w.stop()
	watching, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	token := c.token
	*w = watch{endpoint, token, cancel, done, time.Now()}
	prefix := e.prefix + "election/"
	go func() {
		defer close(done)
		c.watch(watching, endpoint, token, []byte(prefix), prefixEnd(prefix), func() { call(wake) })
	}()
}

// stop ends the watch, and waits for it.
func (w *watch) stop() {
	if w.done != nil {
		w.cancel()
		<-w.done
		w.done = nil
	}
}
