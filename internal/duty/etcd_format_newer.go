//go:build newer

package duty

// With the tag newer, this is a daemon of a later version: one whose records have
// another format, and a field that this one's have not. Only tests build it.
const recordFormat = 2

type added struct {
	Vantage struct {
		Site  string `json:"site"`
		Rings [2]int `json:"rings"`
	} `json:"vantage"`
}
