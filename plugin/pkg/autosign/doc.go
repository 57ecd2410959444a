// Package autosign keeps the zones of package zonedb signed: it has signer sign what
// was edited and what is due in the same commit as the edit, kasp say with which keys,
// and the keys stand in the notes of the zone, so that zone and keys are one in the
// store.
package autosign
