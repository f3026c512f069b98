package manifest

import _ "embed"

//go:generate go run ../internal/schemagen

// Schema is the JSON Schema (draft-07) of manifests, made from the comments of
// [Document] and what it holds.
//
//go:embed schema.json
var Schema []byte
