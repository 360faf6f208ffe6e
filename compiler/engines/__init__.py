"""Maps nodes onto engines, explains what an engine cannot take, and computes its arithmetic."""
