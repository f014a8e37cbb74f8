package probe

import "testing"

// TestSameRules: compiled or not, by their values.
func TestSameRules(t *testing.T) {
	a, b := DefaultRules(), DefaultRules()
	a.DeadMatch = "maintenance"
	a.Compile()
	if a.Same(b) {
		t.Error("rules with another match are the same, want not")
	}
	if b.DeadMatch = "maintenance"; !a.Same(b) || !b.Same(a) {
		t.Error("equal rules of which one is compiled are not the same, want the same")
	}
}
