package duty

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The keys of a group, all below one prefix so that one right is enough and one
// request reads them:
//
//	/crisp-status-local/v1/GROUP/members/MEMBER/LEASE   a record, as JSON
//	/crisp-status-local/v1/GROUP/election/LEASE         the name of the member
//
// Both are bound to the lease of the member. The election is etcd's own recipe: the
// member whose key was created first is on duty, and the others wait in line.
//
// The recipe is implemented here, by transactions and a watch. etcd's election
// service is not used: it deletes a candidate's key when a call is cancelled, even
// minutes later if etcd was stopped meanwhile. By then the candidate may be on duty
// through another endpoint, and would learn of the deletion too late.

// record is the state of a member, as it writes it for the others.
type record struct {
	Format   int     `json:"format"`
	Version  string  `json:"version"`
	Member   string  `json:"member"`
	Instance string  `json:"instance"` // of this run of the daemon
	Page     string  `json:"page"`
	Healthy  int     `json:"healthy"`
	Sick     int     `json:"sick"`
	Dead     int     `json:"dead"`
	API      bool    `json:"api"`               // it answered, and has not failed since
	APIAge   float64 `json:"api_age,omitempty"` // seconds from its answer to this record
	InVain   bool    `json:"in_vain,omitempty"` // reports wait, and their tries fail
	//lint:ignore U1000 it has fields with the tag newer
	added
}

// member is a record that was read.
type member struct {
	record
	key     string
	lease   number
	changed number // revision
	queued  bool   // it has a key of the election
}

// group is all of a group at one revision.
type group struct {
	members []member // the oldest first
	holder  *member  // on duty; nil: nobody
	lead    keyValue // the first key of the election; zero: none
	mine    bool     // the first key is of this member's lease
	joined  bool     // this member's lease has a record
	queued  bool     // this member's lease has a key of the election
}

// maxMembers is how many keys of a group are read.
const maxMembers = 512

func groupPrefix(name string) string {
	return "/crisp-status-local/v1/" + url.PathEscape(name) + "/"
}

// prefixEnd is the end of the range of keys that begin with prefix, which ends
// with a byte that has a next one.
func prefixEnd(prefix string) []byte {
	end := []byte(prefix)
	end[len(end)-1]++
	return end
}

// readGroup makes a group of its keys, which come oldest first. Keys that are no
// member's are ignored.
func readGroup(prefix string, kvs []keyValue, own number) group {
	var g group
	queued := make(map[number]bool)
	for _, kv := range kvs {
		key := string(kv.Key)
		switch {
		case strings.HasPrefix(key, prefix+"election/"):
			if g.lead.Key == nil {
				g.lead = kv
			}
			queued[kv.Lease] = true
		case strings.HasPrefix(key, prefix+"members/") && kv.Lease != 0:
			m := member{key: key, lease: kv.Lease, changed: kv.Changed}
			if json.Unmarshal(kv.Value, &m.record) != nil || m.Member == "" {
				name, _, _ := strings.Cut(strings.TrimPrefix(key, prefix+"members/"), "/")
				m.record = record{Member: name}
			}
			g.members = append(g.members, m)
		}
	}
	for i := range g.members {
		m := &g.members[i]
		m.queued = queued[m.lease]
		g.joined = g.joined || m.lease == own
		if g.lead.Key != nil && m.lease == g.lead.Lease {
			g.holder = m
		}
	}
	g.queued = own != 0 && queued[own]
	g.mine = g.lead.Key != nil && own != 0 && g.lead.Lease == own
	return g
}

// otherPage returns the oldest member if it watches for another page than page, else
// nil. The oldest decides, so that one daemon with a wrong file leaves, not all others.
func (g group) otherPage(own number, page string) *member {
	for i := range g.members {
		m := &g.members[i]
		switch {
		case m.lease == own || m.Page == page:
			return nil
		case m.Page != "":
			return m
		}
	}
	return nil
}

// stray returns the complaint about a first key of the election that is no member's;
// empty if it is one's.
func (g group) stray() string {
	if g.lead.Key == nil || g.holder != nil {
		return ""
	}
	return fmt.Sprintf("the key %.200q is of no member, and keeps all others from the duty: delete it by etcdctl del", g.lead.Key)
}

// names returns the names of the members as they are shown, by lease. Two members with
// one name get their instance behind it.
func (g group) names() map[number]string {
	runs := make(map[string]string)
	double := make(map[string]bool)
	for _, m := range g.members {
		first, known := runs[m.Member]
		double[m.Member] = double[m.Member] || known && first != m.Instance
		runs[m.Member] = m.Instance
	}
	names := make(map[number]string)
	for _, m := range g.members {
		names[m.lease] = m.Member
		if double[m.Member] {
			names[m.lease] = m.Member + "#" + m.Instance
		}
	}
	return names
}

// shown returns the members as State has them.
func (g group) shown() []Member {
	names := g.names()
	members := make([]Member, 0, len(g.members))
	for _, m := range g.members {
		members = append(members, Member{names[m.lease], m.Version, m.Healthy, m.Sick, m.Dead, m.API})
	}
	slices.SortFunc(members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return members
}

// apiFresh is how recently the Status API must have answered a member for the duty
// to be given to it.
const apiFresh = 15 * time.Second

// sightings remembers when the records of others were seen to change: their age is
// counted on the clock of this host, whatever those of others show.
type sightings map[string]sighting

type sighting struct {
	changed number
	at      time.Duration // never, where it was there from the start: its age is unknown
}

// see takes note of a group at a time.
func (s sightings) see(g group, now time.Duration, first bool) {
	there := make(map[string]bool)
	for _, m := range g.members {
		there[m.key] = true
		old, known := s[m.key]
		switch {
		case !known && first:
			s[m.key] = sighting{m.changed, never}
		case !known || old.changed != m.changed:
			s[m.key] = sighting{m.changed, now}
		}
	}
	for key := range s {
		if !there[key] {
			delete(s, key)
		}
	}
}

// fresh reports whether the Status API answered a member a short time ago.
func (s sightings) fresh(m member, now time.Duration) bool {
	seen, known := s[m.key]
	if !m.API || !known || seen.at == never || m.APIAge < 0 || m.APIAge > apiFresh.Seconds() {
		return false // an age beyond may be none that a duration holds
	}
	return now-seen.at+time.Duration(m.APIAge*float64(time.Second)) < apiFresh
}
