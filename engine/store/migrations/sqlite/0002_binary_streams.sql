-- An upload is touched by every piece that arrives; 0 marks one that is given up and whose pieces are being removed.
ALTER TABLE upload RENAME COLUMN started TO touched;

-- The version that a securityContext names: its readers stay, whatever later versions say.
ALTER TABLE security_context ADD COLUMN target_version INTEGER;
