package scheduler_test

import (
	"bytes"
	"slices"
	"time"
)

// settings returns the bytes of the settings of a script, with all blocks in the map.
func settings(interval time.Duration, longer float64, shared bool) []byte {
	for head := range 256 {
		data := []byte{byte(head), 0, 0}
		s := parseScript(data)
		if s.interval == interval && s.promise == time.Duration(longer*float64(interval)) && s.shared == shared && s.rtt == 20*time.Millisecond {
			return data
		}
	}
	return nil
}

// then returns the bytes of an event so long after the one before.
func then(after time.Duration, k kind, a, b byte) []byte {
	return []byte{byte(slices.Index(pauses, after))<<4 | byte(k), a, b}
}

func lasting(d time.Duration) byte { return byte(slices.Index(lengths, d)) }

// of some replicas, in place of all.
const (
	ofSome = 2 << 4
	ofOne  = 3 << 4
)

func called(name string) byte {
	return byte(slices.IndexFunc(apiMoods, func(m mood) bool { return m.name == name }))
}

// all replicas turn so; a is 0.
func all(b behaviour) byte { return 5<<4 | byte(b) }

// eight replicas turn so, from number a on.
func eight(b behaviour) byte { return 3<<4 | byte(b) }

// scripts returns those that are kept, by what they are about.
func scripts() []struct {
	name string
	data []byte
} {
	const s = time.Second
	compose := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	return []struct {
		name string
		data []byte
	}{
		{"all is well", compose(settings(120*s, 1, false), then(240*s, nothing, 0, 0), then(240*s, nothing, 0, 0))},
		{"the longest outage that is not shown, and replicas that take all their attempts", compose(settings(120*s, 1, false),
			then(60*s, replicasTurn, 0, all(upAfter30s)), then(240*s, apiFails, called("no connection"), lasting(25*s)), then(240*s, apiFails, called("hangs"), lasting(25*s)))},
		{"429 with an hour of Retry-After, while replicas change", compose(settings(10*s, 1, false),
			then(30*s, apiFails, called("429, after an hour"), lasting(90*s)), then(8*s, replicasTurn, 8, eight(dead)), then(30*s, replicasTurn, 16, eight(sick)), then(240*s, replicasTurn, 8, eight(up)))},
		{"429 for those that are due", compose(settings(120*s, 1, false),
			then(90*s, nothing, 0, 0), then(20*s, nothing, 0, 0), then(8*s, apiFails, called("429"), lasting(6*s)), then(240*s, nothing, 0, 0))},
		{"answers are lost while verdicts change", compose(settings(10*s, 1, false),
			then(20*s, apiFails, called("takes reports and never answers"), lasting(15*s)), then(3*s, replicasTurn, 0, all(sick)), then(60*s, apiFails, called("takes reports and resets the connection"), lasting(40*s)),
			then(5*s, replicasTurn, 0, eight(dead)), then(20*s, replicasTurn, 0, eight(up)))},
		{"replicas leave and return while reports hang", compose(settings(30*s, 1.5, false),
			then(40*s, apiFails, called("hangs"), ofSome|lasting(90*s)), then(20*s, mapChanges, 0b000110, 0), then(30*s, mapChanges, 0, 0), then(5*s, mapChanges, 0b1000001, 1), then(40*s, mapChanges, 0b0111111, 0), then(90*s, mapChanges, 0b10000000, 0))},
		{"many die for a moment, and then for long", compose(settings(120*s, 1, false),
			then(90*s, nothing, 0, 0), then(20*s, nothing, 0, 0), then(8*s, manyDie, 3, lasting(2*s)), then(240*s, manyDie, 1, lasting(15*s)), then(240*s, manyDie, 2, lasting(300*s)))},
		{"another page in an outage", compose(settings(60*s, 1, false),
			then(60*s, apiFails, called("500"), lasting(300*s)), then(90*s, moves, 2, 0), then(30*s, moves, 0, 2), then(240*s, moves, 1, 4))},
		{"ends and begins again in an outage", compose(settings(60*s, 2, false),
			then(90*s, apiFails, called("502 after 4s"), lasting(40*s)), then(5*s, ends, 0, lasting(6*s)), then(240*s, ends, 0, lasting(90*s)), then(240*s, isKilled, 0, lasting(25*s)))},
		{"an absence as long as the promise", compose(settings(120*s, 1, false),
			then(240*s, nothing, 0, 0), then(90*s, ends, 0, lasting(90*s)), then(240*s, nothing, 0, 0), then(60*s, ends, 0, lasting(40*s)))},
		{"another page with a long promise", compose(settings(120*s, 1, false),
			then(0, reloads, 3, 4), then(240*s, moves, 3, 4), then(125*s, nothing, 0, 0), then(60*s, nothing, 0, 0))},
		{"the duty goes and comes while replicas die", compose(settings(30*s, 1, true),
			then(40*s, scopeChanges, 0, 0), then(60*s, replicasTurn, 0, eight(dead)), then(20*s, scopeChanges, 1, 0), then(90*s, replicasTurn, 8, eight(dead)), then(30*s, scopeChanges, 2, 0),
			then(60*s, scopeChanges, 0, 0), then(20*s, replicasTurn, 0, all(up)), then(3*s, scopeChanges, 2, 0), then(40*s, scopeChanges, 1, 0))},
		{"the duty is taken over with deaths that are old", compose(settings(120*s, 1, true),
			then(3*s, replicasTurn, 0, eight(dead)), then(125*s, nothing, 0, 0), then(20*s, scopeChanges, 0, 0), then(125*s, nothing, 0, 0), then(60*s, scopeChanges, 2, 0))},
		{"the host stalls, is suspended, and cannot probe", compose(settings(30*s, 1, false),
			then(40*s, stalls, 0, lasting(25*s)), then(60*s, isSuspended, 0, lasting(300*s)), then(60*s, replicasTurn, 0, all(untold)), then(60*s, replicasTurn, 0, all(up)), then(240*s, replicasTurn, 0, eight(denied)))},
		{"the host is suspended for cycles", compose(settings(120*s, 1, false),
			then(240*s, nothing, 0, 0), then(40*s, isSuspended, 0, lasting(300*s)), then(240*s, nothing, 0, 0))},
		{"a long promise, and verdicts that change", compose(settings(60*s, 2, false),
			then(0, reloads, 2, 4), then(240*s, replicasTurn, 0, eight(sick)), then(90*s, replicasTurn, 0, eight(dead)), then(240*s, apiFails, called("401"), lasting(90*s)), then(8*s, reloads, 1, 0))},
		{"replicas leave and return unseen, and the page has lost their reports", compose(settings(120*s, 1, false),
			then(0, reloads, 3, 4), then(125*s, nothing, 0, 0), then(90*s, nothing, 0, 0), then(20*s, mapChanges, 0b10, 0), then(1*s, mapChanges, 0, 0), then(125*s, nothing, 0, 0), then(40*s, nothing, 0, 0))},
		{"few workers and black holes", compose(settings(60*s, 1, false),
			then(0, replicasTurn, 0, 4<<4|byte(deadAfterAll)), then(60*s, reloads, 2|3<<2, 0), then(240*s, mapChanges, 0b11, 0), then(90*s, reloads, 0, 0), then(125*s, reloads, 3, 0))},
		{"an API of moods, rejecting some", compose(settings(60*s, 1, false),
			then(60*s, apiFails, called("404"), ofSome|lasting(90*s)), then(125*s, apiFails, called("403"), ofOne|lasting(25*s)), then(125*s, apiFails, called("any of these at a time"), lasting(300*s)), then(30*s, mapFails, 2, lasting(90*s)), then(20*s, mapChanges, 0b1000000, 0b111<<3))},
		{"seven replicas wait when the 429s end", []byte("\x02\xdf\x00\xa3\x06\x06u\b\xd9\xee")},
		{"the duty is taken over with a death of half a minute ago", []byte("\xc5\xfe\xff\xbb\x00\x00\xc5\xf0I\x9c\xd5\b5\xac\x02m\xe7\x11\xff\x7fs)lF\x1bTm\xe7")},
		{"a verdict comes at the moment in which a death is recalled", []byte("\x05\x00i6hhhhhdii\xc3i\x00\x93\f\x0366666hhhhhhhU\x00Q")},
		{"the daemon stalls while answers to reports are under way", []byte("v\x00\x00\xbc\b\x00\xc5\x005\x9d\x04\xe7")},
		{"requests hang while later ones are taken", []byte("$\x14=w\x86\x9a\x81\x8c\xd6/x\xfa\xdan\xd4\x0f[\xfc\xc2\x18\x9a\x94b&u\xba\x00\x00\x00\x80\xa7\x86MMMMM\xfa")},
		{"the daemon stalls after 401s", []byte("\xd8\xf3\xd8\xf3\xe2G\xe2\xd8\x00\x1dd\xd8\xd8")},
		{"the daemon stalls after a death was recalled", []byte("\x05\x04ii\x05\x00\x00\x10\x00\x93\f\x0366666\x00QQi\r\x04e")},
		{"the round trip grows before the 429s end", []byte("\x02\x00\x00\xa3\x06\x06u\b\xd9l\xfaYOP8\xee")},
		{"a recalled death that takes all attempts", []byte("\x04\x96\x98\x89\xff\x03U\x00Q\xb6\xb6|||||||\xb6\xb6\xb6\xc3\r\x05\xe5")},
		{"a recalled death whose answer was lost", []byte("\x04\x00\x00\xa3\x06\x06u\b\xd9\xeej\xd5\x1b\x13\u07c4\xdf\xdf\xdf")},
	}
}
