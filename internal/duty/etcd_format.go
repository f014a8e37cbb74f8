//go:build !newer

package duty

// recordFormat is the version of the format of records. Fields are only ever added,
// and unknown ones are ignored, so that versions of the daemon can be mixed.
const recordFormat = 1

// added is the fields that only a later format has.
//
//lint:ignore U1000 it has some with the tag newer
type added struct{}
