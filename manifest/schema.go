package manifest

import _ "embed"

// Schema is the JSON Schema (draft-07) of manifests, for editors. It knows
// types, keys and their names; what only several values together can have wrong
// is left to [Parse].
//
//go:embed schema.json
var Schema []byte
